//! Figures as SVG: one line a series, with bars for the 95 % interval of y.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::statistics::Estimate;

/// Width and height in pixels.
const SIZE: (u32, u32) = (900, 560);

/// Half the width of the cap of an interval's bar, as a share of the axis.
const CAP: f64 = 0.004;

/// Okabe and Ito's colours, which people with any colour vision tell apart. The lines after those
/// have hollow points.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
];

/// A point of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    /// Which line it belongs to, by index.
    pub(crate) series: usize,
    pub(crate) x: f64,
    pub(crate) y: Estimate,
}

/// What a figure shows.
#[derive(Debug)]
pub(crate) struct Figure<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    /// Names of the lines.
    pub(crate) series: &'a [String],
    pub(crate) points: &'a [Point],
}

impl Figure<'_> {
    /// Draws it; both axes go as far as the points do, within 0 to 1.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub(crate) fn to_svg(&self) -> Result<String> {
        let mut svg = String::new();
        // Drawing on a string fails only in the library itself.
        self.draw(&mut svg)
            .map_err(|error| anyhow!("A figure could not be drawn: {error}"))?;
        Ok(svg)
    }

    fn draw(&self, svg: &mut String) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
        let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let x = range(self.points.iter().flat_map(|point| [point.x, point.x]));
        let y = range(self.points.iter().flat_map(|point| low_and_high(&point.y)));
        let cap = CAP * (x.end - x.start);
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 20))
            .margin(16)
            .x_label_area_size(48)
            .y_label_area_size(64)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .label_style(("sans-serif", 14))
            .light_line_style(WHITE)
            .draw()?;
        for index in self.drawn() {
            let colour = COLOURS[index % COLOURS.len()];
            let point = match index < COLOURS.len() {
                true => colour.filled(),
                false => colour.stroke_width(2),
            };
            let mut points: Vec<Point> = self.points.to_vec();
            points.retain(|point| point.series == index);
            points.sort_by(|a, b| a.x.total_cmp(&b.x));
            let line = points.iter().map(|point| (point.x, point.y.mean));
            chart
                .draw_series(LineSeries::new(line.clone(), colour.stroke_width(2)))?
                .label(self.series[index].as_str())
                .legend(move |at| Circle::new((at.0 + 8, at.1), 4, point));
            chart.draw_series(line.map(|at| Circle::new(at, 4, point)))?;
            let bars = points.iter().flat_map(|point| bar(point, cap));
            chart.draw_series(bars.map(|ends| PathElement::new(ends, colour)))?;
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font(("sans-serif", 13))
            .position(SeriesLabelPosition::LowerLeft)
            .draw()?;
        area.present()
    }

    /// The lines that have a point.
    fn drawn(&self) -> BTreeSet<usize> {
        let named = |index: &usize| *index < self.series.len();
        self.points
            .iter()
            .map(|point| point.series)
            .filter(named)
            .collect()
    }
}

/// The strokes of an interval's bar: the bar and its two caps.
fn bar(point: &Point, cap: f64) -> Vec<[(f64, f64); 2]> {
    if point.y.half_width.is_none() {
        return Vec::new();
    }
    let [low, high] = low_and_high(&point.y);
    let across = |y: f64| [(point.x - cap, y), (point.x + cap, y)];
    vec![[(point.x, low), (point.x, high)], across(low), across(high)]
}

fn low_and_high(estimate: &Estimate) -> [f64; 2] {
    let half_width = estimate.half_width.unwrap_or(0.0);
    [estimate.mean - half_width, estimate.mean + half_width].map(|end| end.clamp(0.0, 1.0))
}

/// The axis that holds some values: a margin of 0.03 on either side.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    const MARGIN: f64 = 0.03;
    let ends = values.fold(None, |ends: Option<(f64, f64)>, value| match ends {
        Some((low, high)) => Some((low.min(value), high.max(value))),
        None => Some((value, value)),
    });
    let (low, high) = ends.unwrap_or((0.0, 1.0));
    low - MARGIN..high + MARGIN
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn point(series: usize, x: f64, mean: f64, half_width: Option<f64>) -> Point {
        let y = Estimate { mean, half_width };
        Point { series, x, y }
    }

    #[test]
    fn every_point_and_every_named_line_is_drawn() {
        let figure = Figure {
            title: "A title",
            x: "empirical privacy",
            y: "accuracy",
            series: &["one".to_owned(), "two".to_owned(), "never".to_owned()],
            points: &[
                point(0, 0.5, 0.75, None),
                point(0, 0.25, 0.8, Some(0.01)),
                point(1, 0.75, 0.5, None),
            ],
        };
        let svg = figure.to_svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg.matches("<circle").count(), 3 + 2); // and two in the legend
        for word in ["A title", "empirical privacy", "accuracy", "one", "two"] {
            assert!(svg.contains(word), "{word}");
        }
        assert!(!svg.contains("never"));
    }

    #[test]
    fn an_interval_is_a_bar_with_two_caps_within_0_and_1() {
        assert!(bar(&point(0, 0.5, 0.9, None), 0.1).is_empty());
        let strokes = bar(&point(0, 0.5, 0.75, Some(0.5)), 0.125);
        assert_eq!(strokes[0], [(0.5, 0.25), (0.5, 1.0)]);
        assert_eq!(strokes[2], [(0.375, 1.0), (0.625, 1.0)]);
    }

    #[test]
    fn an_axis_holds_its_values_and_some_room() {
        let axis = range([0.5, 0.25].into_iter());
        assert!((axis.start - 0.22).abs() < 1e-12 && (axis.end - 0.53).abs() < 1e-12);
        assert_eq!(range([].into_iter()), -0.03..1.03);
    }
}
