//! A bar of a share with its interval, the share without protection, and chance, as inline SVG.

use shared::audit::statistics::Interval;

use super::report::escaped;

const WIDTH: f64 = 240.0;
const BAR_TOP: f64 = 4.0;
const BAR_HEIGHT: f64 = 12.0;
const HEIGHT: f64 = 34.0;

/// Draws a row. Its numbers are in the title, for whoever does not see the picture.
pub(super) fn svg(
    id: &str,
    with: Option<Interval>,
    without: Option<f64>,
    chance: Option<f64>,
) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let mut title = format!("{}: ", escaped(id));
    title += &with.map_or("not measured".to_owned(), |with| {
        format!("{} recovered with protection", percent(with.mean))
    });
    if let Some(without) = without {
        title += &format!(", {} without", percent(without));
    }
    if let Some(chance) = chance {
        title += &format!(", {} by chance", percent(chance));
    }
    let x = |share: f64| WIDTH * share.clamp(0.0, 1.0);
    let middle = BAR_TOP + BAR_HEIGHT / 2.0;
    let bottom = BAR_TOP + BAR_HEIGHT;
    let mut shapes = format!(
        "<line class=\"axis\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{}\" y2=\"{}\"/>",
        bottom + 4.0,
        bottom + 4.0
    );
    for mark in [0.0, 0.5, 1.0] {
        let anchor = ["start", "middle", "end"][(mark * 2.0) as usize];
        shapes += &format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{:.0} %</text>",
            x(mark),
            HEIGHT - 2.0,
            100.0 * mark
        );
    }
    if let Some(with) = with {
        shapes += &format!(
            "<rect class=\"with\" x=\"0\" y=\"{BAR_TOP}\" width=\"{:.1}\" \
             height=\"{BAR_HEIGHT}\"/>",
            x(with.mean)
        );
    }
    if let Some(without) = without {
        shapes += &format!(
            "<rect class=\"without\" x=\"0.75\" y=\"{:.2}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            BAR_TOP - 2.0,
            (x(without) - 1.5).max(0.0),
            BAR_HEIGHT + 4.0
        );
    }
    if let Some(half) = with.and_then(|with| with.half_width) {
        let mean = with.map_or(0.0, |with| with.mean);
        shapes += &format!(
            "<line class=\"whisker\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>",
            x(mean - half),
            x(mean + half)
        );
    }
    if let Some(chance) = chance {
        shapes += &format!(
            "<line class=\"chance\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"0\" y2=\"{1}\"/>",
            x(chance),
            bottom + 4.0
        );
    }
    format!(
        "<svg role=\"img\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\">\
         <title>{title}</title>{shapes}</svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_shares_and_the_title_says_them() {
        let with = Interval {
            mean: 0.25,
            half_width: Some(0.05),
        };
        let drawn = svg("eia-nn", Some(with), Some(1.0), Some(0.05));
        // A quarter of 240, and 240 less the outline.
        assert!(drawn.contains("width=\"60.0\""), "{drawn}");
        assert!(drawn.contains("width=\"238.5\""));
        assert!(drawn.contains("x1=\"48.0\" x2=\"72.0\""));
        assert!(drawn.contains(
            "<title>eia-nn: 25.0 % recovered with protection, 100.0 % without, 5.0 % by chance"
        ));
        assert!(svg("a", None, None, None).contains("not measured"));
    }
}
