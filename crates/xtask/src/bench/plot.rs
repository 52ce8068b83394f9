//! A curve as SVG: all of one size, on a background of their own, so that they can be read on a light page and a dark one.

use std::error::Error;
use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::figures::{self, Point};
use super::shown;

const SIZE: (u32, u32) = (640, 400);
/// Where the plot ends, and how wide the name of a series is.
const RIGHT: i32 = 612;
const SERIES: i32 = 80;
const TEXT: RGBColor = RGBColor(50, 50, 60);
const GRID: RGBColor = RGBColor(222, 224, 230);
/// Told apart also by those who see few colours.
const COLOURS: [RGBColor; 3] = [RGBColor(0, 90, 181), RGBColor(220, 100, 0), RGBColor(110, 60, 150)];
/// From the smallest to the largest: beyond this a linear axis hides one end.
const LINEAR: f64 = 30.0;

/// One axis, and where it has marks.
struct Axis {
    is_logarithmic: bool,
    range: Range<f64>,
    marks: Vec<f64>,
}

/// # Errors
/// The library's.
pub(super) fn svg(points: &[Point]) -> Result<String, String> {
    draw(points).map_err(|error| format!("the plot of {}: {error}", points[0].curve))
}

fn draw(points: &[Point]) -> Result<String, Box<dyn Error>> {
    let x = Axis::of(points.iter().map(|point| point.x), true);
    let y = Axis::of(points.iter().map(|point| point.y), false);
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let style = ("sans-serif", 15).into_font().color(&TEXT);
        // Lying down, an axis's name is easier to read than upright.
        area.draw_text(&points[0].y_unit, &style, (16, 12))?;
        let mut chart = ChartBuilder::on(&area)
            .margin_top(40)
            .margin_right(28)
            .margin_bottom(8)
            .margin_left(8)
            .x_label_area_size(46)
            .y_label_area_size(62)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(TEXT)
            .label_style(style.clone())
            .x_desc(&points[0].x_unit)
            .axis_desc_style(style.clone())
            .draw()?;
        let series = figures::groups(points.iter().cloned(), |point| &point.series);
        let mut left = RIGHT - SERIES * i32::try_from(series.len())?;
        for ((name, line), colour) in series.iter().zip(COLOURS.iter().cycle()) {
            let line: Vec<_> = line.iter().map(|point| (point.x, point.y)).collect();
            chart.draw_series(LineSeries::new(line, colour.stroke_width(2)).point_size(3))?;
            if series.len() > 1 {
                // Above the curves, where it hides none of them.
                area.draw(&PathElement::new([(left, 18), (left + 18, 18)], colour.stroke_width(2)))?;
                area.draw_text(name, &style, (left + 24, 12))?;
                left += SERIES;
            }
        }
        area.present()?;
    }
    Ok(text)
}

impl Axis {
    /// For these numbers. `is_tight` if it begins and ends with them, else it has room above, and begins with 0 if it is linear.
    fn of(numbers: impl Iterator<Item = f64> + Clone, is_tight: bool) -> Self {
        let min = numbers.clone().fold(f64::INFINITY, f64::min);
        let max = numbers.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
        if min > 0.0 && max / min > LINEAR {
            let mut marks = decades(min, max);
            if is_tight {
                marks.retain(|mark| (min..=max).contains(mark));
                return Self { is_logarithmic: true, range: min..max, marks };
            }
            return Self { is_logarithmic: true, range: marks[0]..marks[marks.len() - 1], marks };
        }
        if is_tight {
            // What is counted has no halves.
            return Self {
                is_logarithmic: false,
                range: min..max,
                marks: multiples(step(max).max(1.0), min, max),
            };
        }
        let step = step(max);
        let end = (max * 1.1 / step).ceil() * step;
        Self { is_logarithmic: false, range: 0.0..end, marks: multiples(step, 0.0, end) }
    }

    fn place(&self, number: f64) -> f64 {
        if self.is_logarithmic { number.log10() } else { number }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let places = self.place(self.range.start)..self.place(self.range.end);
        RangedCoordf64::from(places).map(&self.place(*value), limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, number: &f64) -> String {
        if *number >= 1e6 {
            return format!("{} M", number / 1e6);
        }
        // Two decimals are what the marks of the narrowest range differ in.
        let text = shown(*number);
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    }
}

/// Powers of ten from the one below `min` to the one above `max`.
fn decades(min: f64, max: f64) -> Vec<f64> {
    let powers = multiples(1.0, min.log10().floor(), max.log10().ceil());
    powers.into_iter().map(|power| 10_f64.powf(power)).collect()
}

/// 1, 2 or 5 times a power of ten, about a fifth of `max`.
fn step(max: f64) -> f64 {
    let decade = 10_f64.powf((max / 5.0).log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| decade * factor * 5.5 >= max).unwrap_or(10.0);
    decade * factor
}

fn multiples(step: f64, begin: f64, end: f64) -> Vec<f64> {
    let first = (begin / step).ceil();
    (0..100)
        .map(|index| (first + f64::from(index)) * step)
        .take_while(|&mark| mark <= end + step * 1e-6)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::example;

    #[test]
    fn axes() {
        let wide = Axis::of([10.0, 20_000.0].into_iter(), true);
        assert!(wide.is_logarithmic);
        let labels: Vec<_> = wide.marks.iter().map(|mark| wide.format_ext(mark)).collect();
        assert_eq!(labels, ["10", "100", "1,000", "10,000"]);
        let counted = Axis::of([1.0, 2.0].into_iter(), true);
        assert_eq!(counted.marks.len(), 2);
        let narrow = Axis::of([0.31, 0.42].into_iter(), false);
        assert!(!narrow.is_logarithmic);
        let labels: Vec<_> = narrow.marks.iter().map(|mark| narrow.format_ext(mark)).collect();
        assert_eq!(labels, ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
    }

    #[test]
    fn a_plot_has_its_units_and_series() {
        let points = [
            example("fanout", "QoS 0", 1.0, 0.3),
            example("fanout", "QoS 0", 1000.0, 0.4),
            example("fanout", "QoS 1", 1.0, 0.5),
        ];
        let text = svg(&points).unwrap();
        for expected in ["<svg", "subscribers", "µs", "QoS 0", "QoS 1", "1,000"] {
            assert!(text.contains(expected), "{expected} in {text}");
        }
        // One axis from 0 for one point, and no scale to take the logarithm of nothing.
        assert!(svg(&[example("fanout", "", 0.0, 0.0)]).is_ok());
    }
}
