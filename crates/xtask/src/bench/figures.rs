//! The table of all points, as it is in `figures.csv`. Never knows how they were measured or how they are shown.

/// One point of a curve.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) curve: String,
    /// Which of the lines of the curve.
    pub(super) series: String,
    pub(super) x: f64,
    pub(super) x_unit: String,
    pub(super) y: f64,
    pub(super) y_unit: String,
    /// Which program, when, on what machine, and of how many rounds this is the best.
    pub(super) origin: Origin,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Origin {
    pub(super) program: String,
    pub(super) date: String,
    pub(super) machine: String,
    pub(super) rounds: String,
}

const HEAD: &str = "curve,series,x,x unit,y,y unit,program,date,machine,rounds";

/// # Errors
/// The line that is no point.
pub(super) fn read(text: &str) -> Result<Vec<Point>, String> {
    text.lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let &[curve, series, x, x_unit, y, y_unit, program, date, machine, rounds] = fields.as_slice()
            else {
                return Err(format!("{line:?} does not have the fields {HEAD}"));
            };
            let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number in {line:?}"));
            Ok(Point {
                curve: curve.into(),
                series: series.into(),
                x: number(x)?,
                x_unit: x_unit.into(),
                y: number(y)?,
                y_unit: y_unit.into(),
                origin: Origin {
                    program: program.into(),
                    date: date.into(),
                    machine: machine.into(),
                    rounds: rounds.into(),
                },
            })
        })
        .collect()
}

/// The whole table. No field has a comma; one that has gets a semicolon instead.
pub(super) fn write(points: &[Point]) -> String {
    let mut text = format!("{HEAD}\n");
    for Point { curve, series, x, x_unit, y, y_unit, origin } in points {
        let Origin { program, date, machine, rounds } = origin;
        let (x, y) = (x.to_string(), y.to_string());
        let fields = [curve, series, &x, x_unit, &y, y_unit, program, date, machine, rounds];
        text.push_str(&fields.map(|field| field.replace(',', ";")).join(","));
        text.push('\n');
    }
    text
}

/// Points of the same kind, in the order in which the first of each kind comes.
pub(super) fn groups(
    points: impl IntoIterator<Item = Point>,
    kind: impl Fn(&Point) -> &str,
) -> Vec<(String, Vec<Point>)> {
    let mut groups: Vec<(String, Vec<Point>)> = Vec::new();
    for point in points {
        let name = kind(&point);
        if let Some((_, group)) = groups.iter_mut().find(|(known, _)| known == name) {
            group.push(point);
        } else {
            groups.push((name.to_owned(), vec![point]));
        }
    }
    groups
}

#[cfg(test)]
pub(super) fn example(curve: &str, series: &str, x: f64, y: f64) -> Point {
    let origin = Origin {
        program: "Columba 0.1.0".into(),
        date: "2025-01-01".into(),
        machine: "2 × CPU".into(),
        rounds: "3".into(),
    };
    Point {
        curve: curve.into(),
        series: series.into(),
        x,
        x_unit: "subscribers".into(),
        y,
        y_unit: "µs".into(),
        origin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let points = vec![example("fanout", "QoS 0", 10.0, 0.25), example("fanout", "QoS 1", 1000.0, 1.0)];
        assert_eq!(read(&write(&points)).unwrap(), points);
    }

    #[test]
    fn a_comma_does_not_shift_the_fields() {
        let point = example("fanout", "QoS 1, MQTT 5", 1.0, 2.0);
        assert_eq!(read(&write(&[point])).unwrap()[0].series, "QoS 1; MQTT 5");
        assert!(read("head\nfanout,1,2").is_err());
    }

    #[test]
    fn groups_keep_their_order() {
        let points = [("b", 1.0), ("a", 2.0), ("b", 3.0)].map(|(curve, x)| example(curve, "", x, x));
        let groups = groups(points, |point| &point.curve);
        let shape: Vec<_> = groups.iter().map(|(name, points)| (name.as_str(), points.len())).collect();
        assert_eq!(shape, [("b", 2), ("a", 1)]);
    }
}
