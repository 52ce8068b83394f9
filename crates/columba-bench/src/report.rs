//! Owns how a result is shown: lines for a person, or one JSON object. Never decides what is in it.

use std::fmt::Write;

/// A figure: its name in JSON, the number, how many decimals make sense, and the unit for a person.
#[derive(Clone, Debug)]
struct Figure {
    name: &'static str,
    value: f64,
    decimals: usize,
    unit: &'static str,
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    /// What was measured: words for a person, and fields for JSON.
    title: String,
    fields: Vec<(&'static str, String)>,
    rows: Vec<(&'static str, Vec<Figure>)>,
    remarks: Vec<String>,
    faults: Vec<String>,
}

/// One line that is being put together.
#[derive(Debug)]
pub(crate) struct Row<'a>(&'a mut Vec<Figure>);

impl Report {
    pub(crate) fn new(title: String) -> Self {
        Self { title, ..Self::default() }
    }

    /// A field that is in the title for a person; `json` is its value as JSON writes it.
    pub(crate) fn field(&mut self, name: &'static str, json: String) {
        self.fields.push((name, json));
    }

    pub(crate) fn row(&mut self, label: &'static str) -> Row<'_> {
        self.rows.push((label, Vec::new()));
        let (_, figures) = self.rows.last_mut().expect("one has just been added");
        Row(figures)
    }

    /// What one should know when reading the figures.
    pub(crate) fn remark(&mut self, text: String) {
        self.remarks.push(text);
    }

    /// Something that must not have been; the run has failed.
    pub(crate) fn fault(&mut self, text: String) {
        self.faults.push(text);
    }

    pub(crate) fn is_good(&self) -> bool {
        self.faults.is_empty()
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.title);
        let label_width = self.rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
        let columns = self.rows.iter().map(|(_, figures)| figures.len()).max().unwrap_or(0);
        let width = |column: usize, part: fn(&Figure) -> usize| {
            self.rows.iter().filter_map(|(_, figures)| figures.get(column)).map(part).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns)
            .map(|column| {
                (
                    width(column, |figure| figure.number().len()),
                    width(column, |figure| figure.unit.chars().count()),
                )
            })
            .collect();
        for (label, figures) in self.rows.iter().filter(|(_, figures)| !figures.is_empty()) {
            let mut line = format!("  {label:label_width$}");
            for (figure, &(number, unit)) in figures.iter().zip(&widths) {
                let _ = write!(line, "  {:>number$} {:unit$}", figure.number(), figure.unit);
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "  note: {remark}");
        }
        for fault in &self.faults {
            let _ = writeln!(text, "  FAILED: {fault}");
        }
        text
    }

    pub(crate) fn to_json(&self) -> String {
        let mut fields: Vec<String> =
            self.fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        for figure in self.rows.iter().flat_map(|(_, figures)| figures) {
            // Six digits say more than was measured; what is whole stays whole.
            let value = if figure.value.fract() == 0.0 {
                format!("{:.0}", figure.value)
            } else {
                format!("{:.6}", figure.value)
            };
            fields.push(format!("\"{}\":{value}", figure.name));
        }
        fields.push(format!("\"remarks\":{}", strings(&self.remarks)));
        fields.push(format!("\"faults\":{}", strings(&self.faults)));
        fields.push(format!("\"ok\":{}", self.is_good()));
        format!("{{{}}}\n", fields.join(","))
    }
}

impl Row<'_> {
    /// Adds a figure. One that is no number, because nothing was measured, is left out.
    pub(crate) fn add(self, name: &'static str, value: f64, decimals: usize, unit: &'static str) -> Self {
        if value.is_finite() {
            self.0.push(Figure { name, value, decimals, unit });
        }
        self
    }

    pub(crate) fn count(self, name: &'static str, value: u64, unit: &'static str) -> Self {
        self.add(name, value as f64, 0, unit)
    }
}

impl Figure {
    fn number(&self) -> String {
        grouped(&format!("{:.*}", self.decimals, self.value))
    }
}

/// With commas: 1,234,567.89.
pub(crate) fn grouped(number: &str) -> String {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let whole = digits.find('.').unwrap_or(digits.len());
    let mut text = String::from(sign);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && index < whole && (whole - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A text as JSON writes it.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\0'..='\x1F' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(character));
            }
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

fn strings(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Report {
        let mut report = Report::new("p2p: an example".into());
        report.field("scenario", quoted("p2p"));
        report.row("delivered").count("delivered", 1_234_567, "messages").add("per_s", 1_000.5, 1, "/s");
        report.row("broker").add("cpu_us_per_message", 0.25, 2, "µs/message").add("nothing", f64::NAN, 1, "");
        report.row("empty").add("nothing", f64::INFINITY, 1, "");
        report
    }

    #[test]
    fn lines_are_aligned() {
        let expected = "p2p: an example\n  delivered  1,234,567 messages    1,000.5 /s\n  broker          0.25 µs/message\n";
        assert_eq!(example().to_text(), expected);
    }

    #[test]
    fn one_object() {
        let mut report = example();
        report.fault("it said \"no\"\n".into());
        assert_eq!(
            report.to_json(),
            "{\"scenario\":\"p2p\",\"delivered\":1234567,\"per_s\":1000.500000,\"cpu_us_per_message\":0.250000,\
             \"remarks\":[],\"faults\":[\"it said \\\"no\\\"\\u000a\"],\"ok\":false}\n"
        );
    }

    #[test]
    fn groups_of_three() {
        for (number, expected) in
            [("0", "0"), ("999", "999"), ("1000", "1,000"), ("-123456.7890", "-123,456.7890")]
        {
            assert_eq!(grouped(number), expected);
        }
    }
}
