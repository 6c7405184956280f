//! The committed figures: which tools counted them, and of each scene its instructions and by how much a count may be above
//! them. Counts nothing.

use std::fmt::Write as _;

/// What the file says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Ledger {
    /// The tools; with others, instructions are others.
    pub(crate) tools: String,
    pub(crate) rows: Vec<Row>,
}

/// One scene.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) scene: String,
    /// Of one operation.
    pub(crate) instructions: u64,
    pub(crate) tolerance_percent: f64,
}

/// What a count comes to beside the ledger.
#[derive(Debug, PartialEq)]
pub(crate) struct Verdict {
    /// A table, and what to do next.
    pub(crate) text: String,
    /// Whether a scene takes more than its tolerance allows, counted with the same tools.
    pub(crate) is_worse: bool,
}

/// Of a scene that is new: counts beside five builds were up to 5 % above those of a quiet machine.
const TOLERANCE_PERCENT: f64 = 10.0;

const HEAD: &str = "\
# Instructions of one operation, counted by valgrind in the profile of the tests. `scripts/instructions.sh` counts anew and fails
# where a scene takes more than this and its tolerance, in percent; `scripts/instructions.sh write` renews the figures, and the
# commit says why. With other tools than these the difference is shown, and fails nothing.
";
const TOOLS: &str = "tools: ";

impl Ledger {
    /// Reads the file. A line that does not read is left out, so that its scene counts as new.
    pub(crate) fn read(text: &str) -> Self {
        let mut ledger = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match line.strip_prefix(TOOLS) {
                Some(tools) => tools.clone_into(&mut ledger.tools),
                None => ledger.rows.extend(Row::read(line)),
            }
        }
        ledger
    }

    /// The file.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{HEAD}{TOOLS}{}\n", self.tools);
        for Row { scene, instructions, tolerance_percent } in &self.rows {
            writeln!(text, "{instructions:>12} {tolerance_percent:>3} %  {scene}").expect("a String takes every write");
        }
        text
    }

    /// What was counted, with the tolerances of this one.
    pub(crate) fn renewed(&self, tools: &str, counted: &[(&str, u64)]) -> Self {
        let row = |(scene, instructions): &(&str, u64)| Row {
            scene: (*scene).to_owned(),
            instructions: *instructions,
            tolerance_percent: self.row(scene).map_or(TOLERANCE_PERCENT, |row| row.tolerance_percent),
        };
        Self { tools: tools.to_owned(), rows: counted.iter().map(row).collect() }
    }

    /// Holds what was counted with `tools` to these figures.
    pub(crate) fn verdict(&self, tools: &str, counted: &[(&str, u64)]) -> Verdict {
        let is_same = self.tools == tools;
        let mut text = format!("{:>12} {:>12} {:>8}  instructions of\n", "counted", "committed", "");
        let (mut worse, mut better) = (Vec::new(), false);
        for (scene, instructions) in counted {
            let Some(row) = self.row(scene) else {
                worse.push(*scene);
                writeln!(text, "{instructions:>12} {:>12} {:>8}  {scene}", "-", "")
                    .expect("a String takes every write");
                continue;
            };
            // In this order whole percents are whole.
            let percent = 100.0 * (*instructions as f64 - row.instructions as f64) / row.instructions as f64;
            if percent > row.tolerance_percent {
                worse.push(scene);
            }
            better |= percent < -row.tolerance_percent;
            writeln!(
                text,
                "{instructions:>12} {:>12} {percent:>+6.1} %  {scene} (at most {:+} %)",
                row.instructions, row.tolerance_percent
            )
            .expect("a String takes every write");
        }
        if !is_same {
            text += &format!("Counted with {tools}; the figures are of {}: nothing is held to them.\n", self.tools);
        } else if !worse.is_empty() {
            text += &format!(
                "More than committed, or not committed: {}. Find what takes them; if they are worth it, run \
                 `scripts/instructions.sh write`, commit tests/bench/instructions.txt and say why.\n",
                worse.join(", ")
            );
        } else if better {
            text += "Less than committed: `scripts/instructions.sh write` keeps it so.\n";
        }
        Verdict { text, is_worse: is_same && !worse.is_empty() }
    }

    fn row(&self, scene: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.scene == scene)
    }
}

impl Row {
    fn read(line: &str) -> Option<Self> {
        let (figures, scene) = line.split_once('%')?;
        let (instructions, tolerance) = figures.trim().split_once(' ')?;
        Some(Self {
            scene: scene.trim().to_owned(),
            instructions: instructions.parse().ok()?,
            tolerance_percent: tolerance.trim().parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was counted, with which tools, and whether it is worse.
    type Case<'a> = (&'a [(&'a str, u64)], &'a str, bool);

    fn ledger() -> Ledger {
        let row = |scene: &str, instructions, tolerance_percent| Row {
            scene: scene.to_owned(),
            instructions,
            tolerance_percent,
        };
        Ledger { tools: "rustc 1, valgrind 2".into(), rows: vec![row("a b", 1_000, 5.0), row("c", 200, 2.5)] }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Ledger::read(&ledger().text()), ledger());
    }

    #[test]
    fn a_count_is_worse_beyond_its_tolerance_and_with_the_same_tools_alone() {
        let tools = "rustc 1, valgrind 2";
        let cases: [Case<'_>; 6] = [
            (&[("a b", 1_050), ("c", 205)], tools, false),
            (&[("a b", 1_051), ("c", 205)], tools, true),
            (&[("a b", 900), ("c", 206)], tools, true),
            (&[("a b", 900)], tools, false),
            (&[("a b", 2_000)], "rustc 2, valgrind 2", false),
            (&[("nobody wrote it down", 1)], tools, true),
        ];
        for (counted, tools, expected) in cases {
            let verdict = ledger().verdict(tools, counted);
            assert_eq!(verdict.is_worse, expected, "{}", verdict.text);
        }
    }

    #[test]
    fn a_renewal_keeps_tolerances() {
        let renewed = ledger().renewed("others", &[("c", 300), ("new", 7)]);
        let rows: Vec<_> =
            renewed.rows.iter().map(|row| (&*row.scene, row.instructions, row.tolerance_percent)).collect();
        assert_eq!(rows, [("c", 300, 2.5), ("new", 7, TOLERANCE_PERCENT)]);
        assert_eq!(renewed.tools, "others");
    }
}
