//! The generated parts of `docs/growth/README.md`, which stand between marks so that the words around them stay.

use std::fmt::Write;

use super::figures::{self, Point};
use super::shown;

/// The text with the plot and the table of one curve in their place.
///
/// # Errors
/// The text has no place for it.
pub(super) fn with_figures(text: &str, curve: &str, points: &[Point]) -> Result<String, String> {
    let mark = format!("<!-- figures: {curve} -->\n");
    let place = text.split_once(&mark).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) =
        place.ok_or_else(|| format!("the text has no place for {curve}: {}…{END}", mark.trim_end()))?;
    Ok(format!("{before}{mark}{}{END}{after}", generated(curve, points)))
}

const END: &str = "<!-- end -->";

fn generated(curve: &str, points: &[Point]) -> String {
    let Some(first) = points.first() else { return String::new() };
    let mut text = format!("![{} against {}]({curve}.svg)\n\n", first.y_unit, first.x_unit);
    let series = figures::groups(points.iter().cloned(), |point| &point.series);
    // What one of something needs, times how many there are.
    let has_totals = first.y_unit.starts_with("bytes per ");
    let _ = write!(text, "| {} |", first.x_unit);
    for (name, _) in &series {
        let name = if series.len() == 1 { String::new() } else { format!("{name}, ") };
        let _ = write!(text, " {name}{} |", first.y_unit);
    }
    text.push_str(if has_totals { " MB in all |\n" } else { "\n" });
    text.push_str(&"|---:".repeat(1 + series.len() + usize::from(has_totals)));
    text.push_str("|\n");
    let mut numbers: Vec<f64> = points.iter().map(|point| point.x).collect();
    numbers.sort_by(f64::total_cmp);
    numbers.dedup();
    for x in numbers {
        let _ = write!(text, "| {} |", whole(x));
        let mut total = None;
        for (_, points) in &series {
            let point = points.iter().find(|point| (point.x - x).abs() < f64::EPSILON);
            let number = point.map_or_else(|| "–".to_owned(), |point| shown(point.y));
            let _ = write!(text, " {number} |");
            total = point.map(|point| point.y * x / 1e6);
        }
        if has_totals {
            let _ = write!(text, " {} |", total.map_or_else(|| "–".to_owned(), shown));
        }
        text.push('\n');
    }
    let origin = &first.origin;
    let best = match origin.rounds.as_str() {
        "1" => "one round".to_owned(),
        "1 short" => "one short round, so only roughly".to_owned(),
        rounds => format!("the best of {rounds} rounds"),
    };
    let _ = writeln!(text, "\n{}, {}, {}; {best}.", origin.program, origin.machine, origin.date);
    text
}

/// With commas, and without a fraction.
fn whole(number: f64) -> String {
    if number < 1000.0 { format!("{number:.0}") } else { shown(number) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::example;

    const TEXT: &str = "# Fan-out\n<!-- figures: fanout -->\nold\n<!-- end -->\nIt bends.\n<!-- figures: b -->\n<!-- end -->\n";

    #[test]
    fn words_stay() {
        let points = [example("fanout", "QoS 0", 1.0, 0.3), example("fanout", "QoS 1", 1000.0, 0.5)];
        let text = with_figures(TEXT, "fanout", &points).unwrap();
        assert!(
            text.starts_with("# Fan-out\n<!-- figures: fanout -->\n![µs against subscribers](fanout.svg)\n")
        );
        assert!(text.contains("| subscribers | QoS 0, µs | QoS 1, µs |\n|---:|---:|---:|\n"), "{text}");
        assert!(text.contains("| 1 | 0.30 | – |\n| 1,000 | – | 0.50 |\n"), "{text}");
        assert!(text.contains(
            "\nColumba 0.1.0, 2 × CPU, 2025-01-01; the best of 3 rounds.\n<!-- end -->\nIt bends.\n"
        ));
        assert!(!text.contains("old"));
        assert_eq!(with_figures(&text, "fanout", &points).unwrap(), text);
    }

    #[test]
    fn totals_of_memory() {
        let mut point = example("b", "idle", 2000.0, 700.0);
        point.y_unit = "bytes per connection".into();
        let text = with_figures(TEXT, "b", &[point]).unwrap();
        assert!(text.contains("| subscribers | bytes per connection | MB in all |\n"), "{text}");
        assert!(text.contains("| 2,000 | 700 | 1.40 |\n"), "{text}");
    }

    #[test]
    fn a_missing_place_is_named() {
        assert!(with_figures(TEXT, "payload", &[]).unwrap_err().contains("<!-- figures: payload -->"));
    }
}
