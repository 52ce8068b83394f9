//! How Columba's cost grows: the same load at more and more of something. Writes `docs/growth`: the figures, a plot for each
//! curve, and the tables in its text.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::against::CPU;
use super::figures::{self, Origin, Point};
use super::rig::{self, APART, Kind, Load, Rig, SHARED};
use super::{Plan, page, plot, shown};
use crate::root;
use crate::run::answer;

/// From the root of the repository.
const FOLDER: &str = "docs/growth";

/// Loads that differ in one number.
struct Sweep {
    /// What that number counts.
    unit: &'static str,
    /// Where `{}` stands for the number, in the broker's shards if nowhere.
    series: &'static [Series],
    numbers: &'static [u64],
    curves: &'static [Curve],
}

struct Series {
    name: &'static str,
    words: &'static str,
}

struct Curve {
    name: &'static str,
    /// In the generator's JSON.
    key: &'static str,
    unit: &'static str,
    /// Rates, of which the highest counts; of all else the lowest.
    is_rate: bool,
}

impl Curve {
    const fn cost(name: &'static str, key: &'static str, unit: &'static str) -> Self {
        Self { name, key, unit, is_rate: false }
    }

    const fn rate(name: &'static str, key: &'static str, unit: &'static str) -> Self {
        Self { name, key, unit, is_rate: true }
    }
}

const MICROS: &str = "µs of CPU per message";

const SWEEPS: [Sweep; 8] = [
    Sweep {
        unit: "subscribers",
        series: &[
            Series { name: "QoS 0", words: "fanout --qos 0 --subs {}" },
            Series { name: "QoS 1", words: "fanout --qos 1 --subs {}" },
        ],
        numbers: &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
        curves: &[Curve::cost("fanout", CPU, MICROS)],
    },
    Sweep {
        unit: "bytes of payload",
        series: &[
            Series { name: "QoS 0", words: "p2p --qos 0 --payload {}" },
            Series { name: "QoS 1", words: "p2p --qos 1 --payload {}" },
        ],
        // The generator's checks need 24 bytes.
        numbers: &[24, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576],
        curves: &[
            Curve::cost("payload", CPU, MICROS),
            Curve::rate("throughput", "mb_per_s", "MB/s of payload"),
        ],
    },
    Sweep {
        unit: "subscriptions",
        series: &[Series { name: "QoS 0", words: "subs --subs {}" }],
        numbers: &[10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000, 200_000],
        curves: &[
            Curve::cost("subscriptions", CPU, MICROS),
            Curve::cost("subscription-memory", "bytes_per_subscription", "bytes per subscription"),
        ],
    },
    Sweep {
        unit: "idle connections beside the load",
        series: &[
            Series { name: "QoS 0", words: "p2p --qos 0 --idle {}" },
            Series { name: "QoS 1", words: "p2p --qos 1 --idle {}" },
        ],
        numbers: &[0, 1000, 3000, 6000, 9000, 12_000, 18_000],
        curves: &[Curve::cost("connections", CPU, MICROS)],
    },
    Sweep {
        unit: "shards",
        series: &[
            Series { name: "QoS 0", words: "p2p --qos 0" },
            Series { name: "QoS 1", words: "p2p --qos 1" },
            Series { name: "QoS 2", words: "p2p --qos 2" },
        ],
        numbers: &[1, 2],
        curves: &[
            Curve::cost("shards", CPU, MICROS),
            Curve::rate("shard-rate", "delivered_per_s", "messages/s"),
        ],
    },
    Sweep {
        unit: "idle connections",
        series: &[Series { name: "idle", words: "conns --seconds 0.5 --conns {}" }],
        numbers: &[100, 300, 1000, 3000, 6000, 9000, 12_000, 18_000],
        curves: &[Curve::cost("connection-memory", "bytes_per_connection", "bytes per connection")],
    },
    Sweep {
        unit: "retained messages",
        series: &[Series { name: "64 bytes", words: "retained --count {}" }],
        numbers: &[100, 300, 1000, 3000, 10_000, 30_000, 100_000, 200_000],
        curves: &[Curve::cost("retained-memory", "bytes_per_message", "bytes per retained message")],
    },
    Sweep {
        unit: "queued messages",
        series: &[Series { name: "64 bytes, QoS 1", words: "offline --count {}" }],
        numbers: &[100, 300, 1000, 3000, 10_000, 30_000, 100_000, 200_000],
        curves: &[Curve::cost("queued-memory", "bytes_per_message", "bytes per queued message")],
    },
];

/// Measures the curves that were asked for and writes them down. Whether the broker did all that was asked of it.
pub(super) fn measure(plan: &Plan) -> Result<bool, String> {
    let mut sweeps: Vec<&Sweep> = SWEEPS.iter().filter(|sweep| plan.selects(&sweep.text())).collect();
    if sweeps.is_empty() {
        let names: Vec<_> = names().collect();
        return Err(format!("no curve has any of these words; there are: {}", names.join(", ")));
    }
    let rig = Rig::build()?;
    if let Some(reason) = rig.no_shards()
        && sweeps.iter().any(|sweep| sweep.is_of_shards())
    {
        println!("The curves against shards are left out: {reason}.");
        sweeps.retain(|sweep| !sweep.is_of_shards());
    }
    let origin = Origin {
        program: rig.version()?,
        date: answer(Command::new("date").args(["-u", "+%F"]))?.trim().to_owned(),
        machine: machine(),
        rounds: plan.rounds.to_string() + if plan.is_quick { " short" } else { "" },
    };
    let (mut points, mut faults) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        for sweep in &sweeps {
            sweep.run(&rig, plan, &format!("{round}/{}", plan.rounds), &mut points, &mut faults);
        }
    }
    write(&root().join(FOLDER), points, &origin)?;
    for fault in &faults {
        println!("* {fault}");
    }
    println!("{FOLDER} has the figures.");
    Ok(faults.is_empty())
}

/// The names of all curves, in the order of the page.
fn names() -> impl Iterator<Item = &'static str> {
    SWEEPS.iter().flat_map(|sweep| sweep.curves).map(|curve| curve.name)
}

/// A point that has been measured, perhaps better than before.
struct Measured {
    curve: &'static Curve,
    series: &'static str,
    x: u64,
    x_unit: &'static str,
    y: f64,
}

impl Sweep {
    /// What words select it by.
    fn text(&self) -> String {
        let names: Vec<_> = self.curves.iter().map(|curve| curve.name).collect();
        names.join(" ")
    }

    fn is_of_shards(&self) -> bool {
        self.series.iter().all(|series| !series.words.contains("{}"))
    }

    /// Runs every point once.
    fn run(
        &'static self,
        rig: &Rig,
        plan: &Plan,
        round: &str,
        points: &mut Vec<Measured>,
        faults: &mut Vec<String>,
    ) {
        let seconds = if plan.is_quick { ["0.5", "0.2"] } else { ["2", "0.5"] };
        for series in self.series {
            for &x in self.numbers {
                let words = series.words.replace("{}", &x.to_string());
                let name = format!("{}, {}, {x} {}", self.curves[0].name, series.name, self.unit);
                eprint!("{round} {name} … ");
                let is_of_shards = self.is_of_shards();
                let outcome = rig.run(&Load {
                    kind: Kind::Columba,
                    shards: if is_of_shards { x } else { 0 },
                    processors: if is_of_shards { SHARED } else { APART },
                    words: &words,
                    seconds,
                });
                let outcome = match outcome {
                    Ok(outcome) => outcome,
                    Err(reason) => {
                        eprintln!("failed");
                        faults.push(format!("{name}: {reason}"));
                        continue;
                    }
                };
                for curve in self.curves {
                    let number = outcome.number(curve.key);
                    eprint!("{}{} ", if curve.name == self.curves[0].name { "" } else { ", " }, said(number));
                    let series = series.name;
                    if let Some(y) = number {
                        keep(points, Measured { curve, series, x, x_unit: self.unit, y });
                    }
                }
                eprintln!();
                faults.extend(outcome.complaint.map(|text| format!("{name}: {text}")));
            }
        }
    }
}

fn said(number: Option<f64>) -> String {
    number.map_or_else(|| "no figure".to_owned(), shown)
}

/// Adds a point, or improves the one there is.
fn keep(points: &mut Vec<Measured>, new: Measured) {
    let known = points
        .iter_mut()
        .find(|old| old.curve.name == new.curve.name && old.series == new.series && old.x == new.x);
    let Some(old) = known else { return points.push(new) };
    old.y = if new.curve.is_rate { old.y.max(new.y) } else { old.y.min(new.y) };
}

/// Writes the new points over those of the same curves, and all that is made of them.
fn write(folder: &Path, points: Vec<Measured>, origin: &Origin) -> Result<(), String> {
    let table = folder.join("figures.csv");
    let old = fs::read_to_string(&table).map_or_else(|_| Ok(Vec::new()), |text| figures::read(&text))?;
    let new: Vec<_> = points.into_iter().map(|point| point.with(origin)).collect();
    let is_new = |curve: &str| new.iter().any(|point| point.curve == curve);
    let mut all: Vec<Point> = old.into_iter().filter(|point| !is_new(&point.curve)).collect();
    all.extend(new);
    all.sort_by_key(|point| names().position(|name| name == point.curve));
    put(&table, &figures::write(&all))?;
    let text_file = folder.join("README.md");
    let mut text =
        fs::read_to_string(&text_file).map_err(|error| format!("{}: {error}", text_file.display()))?;
    for (curve, points) in figures::groups(all, |point| &point.curve) {
        put(&folder.join(format!("{curve}.svg")), &plot::svg(&points)?)?;
        text = page::with_figures(&text, &curve, &points)?;
    }
    put(&text_file, &text)
}

fn put(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

impl Measured {
    fn with(self, origin: &Origin) -> Point {
        // No number here is beyond what a float holds exactly.
        #[allow(clippy::cast_precision_loss)]
        let x = self.x as f64;
        Point {
            curve: self.curve.name.to_owned(),
            series: self.series.to_owned(),
            x,
            x_unit: self.x_unit.to_owned(),
            // More digits would only be noise in what is committed.
            y: rounded(self.y),
            y_unit: self.curve.unit.to_owned(),
            origin: origin.clone(),
        }
    }
}

/// To four digits.
fn rounded(number: f64) -> f64 {
    format!("{number:.3e}").parse().unwrap_or(number)
}

/// How many processors of which kind.
fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("processors of unknown kind", |(_, model)| model.trim());
    format!("{} × {model}", rig::processors())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_curve_has_its_place_in_the_text() {
        let text = fs::read_to_string(root().join(FOLDER).join("README.md")).unwrap();
        for name in names() {
            let points = [figures::example(name, "", 1.0, 1.0)];
            page::with_figures(&text, name, &points).unwrap_or_else(|error| panic!("{error}"));
        }
    }

    #[test]
    fn only_the_best_is_kept() {
        let (cost, rate) = (&SWEEPS[1].curves[0], &SWEEPS[1].curves[1]);
        let mut points = Vec::new();
        for y in [2.0, 1.0, 3.0] {
            for curve in [cost, rate] {
                keep(&mut points, Measured { curve, series: "QoS 0", x: 24, x_unit: "bytes", y });
            }
        }
        let best: Vec<_> = points.iter().map(|point| (point.curve.name, point.y)).collect();
        assert_eq!(best, [("payload", 1.0), ("throughput", 3.0)]);
    }

    #[test]
    fn only_shards_are_not_in_the_words() {
        let of_shards: Vec<_> =
            SWEEPS.iter().filter(|sweep| sweep.is_of_shards()).map(|sweep| sweep.unit).collect();
        assert_eq!(of_shards, ["shards"]);
    }

    #[test]
    fn four_digits() {
        let short = [0.123_456, 1_234_567.0, 0.0].map(|number| rounded(number).to_string());
        assert_eq!(short, ["0.1235", "1235000", "0"]);
    }
}
