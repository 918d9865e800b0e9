//! Values over time, one panel each, as one SVG.

use std::ops::Range;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

/// Width and height of a figure in pixels.
const SIZE: (u32, u32) = (900, 640);

const LINE: RGBColor = RGBColor(0, 114, 178);

/// One value over time.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) name: &'static str,
    /// Hours, and the value.
    pub(crate) points: Vec<(f64, f64)>,
}

type Drawn<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Outcome = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Draws panels below each other, all with the same time.
///
/// # Errors
/// When they cannot be drawn.
pub(crate) fn panels(title: &str, panels: &[Panel]) -> Result<String> {
    let mut svg = String::new();
    // Drawing on a string fails only in the library itself.
    draw(&mut svg, title, panels)
        .map_err(|error| anyhow!("A figure could not be drawn: {error}"))?;
    Ok(svg)
}

fn draw(svg: &mut String, title: &str, panels: &[Panel]) -> Outcome {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let area = area.titled(title, ("sans-serif", 20))?;
    for (panel, area) in panels.iter().zip(area.split_evenly((panels.len(), 1))) {
        draw_panel(&area, panel)?;
    }
    area.present()
}

fn draw_panel(area: &Drawn<'_>, panel: &Panel) -> Outcome {
    let hours = ends(panel.points.iter().map(|point| point.0));
    let values = ends(panel.points.iter().map(|point| point.1));
    let mut chart = ChartBuilder::on(area)
        .caption(panel.name, ("sans-serif", 14))
        .margin(6)
        .x_label_area_size(22)
        .y_label_area_size(64)
        .build_cartesian_2d(hours, 0.0..values.end * 1.1)?;
    chart
        .configure_mesh()
        .x_desc("hours")
        .y_labels(4)
        .label_style(("sans-serif", 12))
        .light_line_style(WHITE)
        .draw()?;
    let points = panel.points.iter().copied();
    chart.draw_series(LineSeries::new(points, LINE.stroke_width(1)))?;
    Ok(())
}

/// The least and the most, never both the same, and nothing below zero.
fn ends(values: impl Iterator<Item = f64>) -> Range<f64> {
    let most = values.fold(0.0, f64::max);
    match most > 0.0 {
        true => 0.0..most,
        false => 0.0..1.0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_panel_has_its_name_and_its_line() {
        let panel = |name| Panel {
            name,
            points: vec![(0.0, 1.0), (0.5, 3.0), (1.0, 2.0)],
        };
        let svg = panels("A title", &[panel("one"), panel("two")]).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for word in ["A title", "one", "two", "hours"] {
            assert!(svg.contains(word), "{word}");
        }
        assert!(svg.matches("<polyline").count() >= 2, "{svg}");
    }

    #[test]
    fn an_axis_begins_at_zero_and_has_an_end() {
        assert_eq!(ends([0.25, 0.5].into_iter()), 0.0..0.5);
        assert_eq!(ends([].into_iter()), 0.0..1.0);
    }
}
