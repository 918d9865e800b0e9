/** How a report looks: one sheet inside the file, which its policy names by this hash. A test holds the two together. */

export const STYLE = `
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 4rem; background: #fff; color: #1c2427;
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0 0 .25rem; font-size: 1.7rem; line-height: 1.2; }
h2 { margin: 2.5rem 0 .75rem; padding-bottom: .25rem; border-bottom: 1px solid #d8d8d0; font-size: 1.25rem; }
h3 { margin: 1.5rem 0 .5rem; font-size: 1rem; }
p, ul { max-width: 46rem; }
.faint, caption { color: #566268; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem 3rem; margin: 1rem 0; }
.figures dt { color: #566268; }
.figures dd { margin: 0; font-size: 1.9rem; font-weight: 650; line-height: 1.1; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; }
svg { display: block; width: 100%; max-width: 52rem; height: auto; }
.scroll { overflow-x: auto; }
table { margin: .75rem 0; border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9375rem; }
caption { padding-bottom: .4rem; text-align: left; }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid #d8d8d0; text-align: right; vertical-align: top; }
th { font-weight: 600; }
.text { text-align: left; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  h2, h3, caption { break-after: avoid; }
  figure, tr, .figures { break-inside: avoid; }
  .scroll { overflow: visible; }
}
`;

export const STYLE_HASH = "sha256-lmyC07cCEmxu5rLJJNFm0cms6dViJnOmMYUCyQZC5vU=";
