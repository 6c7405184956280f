//! Bars as SVG, readable on a light and on a dark ground. Plain text: a chart is a few rectangles. Knows nothing of what is drawn.

use std::fmt::Write as _;

/// Rows of bars with one scale.
pub(crate) struct Chart {
    /// What is shown, and its unit.
    pub(crate) title: String,
    /// What the bars of a row are, in the order of their colours.
    pub(crate) series: Vec<String>,
    /// Each with one value for each of the series; one that is not there has no bar.
    pub(crate) rows: Vec<(String, Vec<Option<f64>>)>,
    /// How the bars of a row stand, and how long they are.
    pub(crate) shape: Shape,
}

/// How bars stand and are scaled.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One below the other, by their value.
    Beside,
    /// One below the other, by the logarithm of their value.
    Logarithmic,
    /// One after the other: they are parts of a whole.
    Stacked,
}

impl Chart {
    /// As a file of its own.
    pub(crate) fn svg(&self) -> String {
        let per_row = if self.shape == Shape::Stacked { 1 } else { self.series.len() };
        let row_height = per_row * BAR + GAP;
        let height = TOP + self.rows.len() * row_height + GAP;
        let title = escaped(&self.title);
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
             role=\"img\" aria-label=\"{title}\">\n<style>{STYLE}</style>\n<text class=\"title\" x=\"8\" y=\"20\">{title}</text>\n"
        );
        self.legend(&mut text);
        for (at, (name, values)) in self.rows.iter().enumerate() {
            let top = TOP + at * row_height;
            let middle = top + per_row * BAR / 2 + 4;
            let name = escaped(name);
            line(&mut text, format_args!("<text class=\"end\" x=\"{}\" y=\"{middle}\">{name}</text>", LEFT - 8));
            self.bars(&mut text, top, values);
        }
        text + "</svg>\n"
    }

    fn legend(&self, text: &mut String) {
        let mut x = 8;
        for (at, name) in self.series.iter().enumerate() {
            line(text, format_args!("<rect class=\"s{at}\" x=\"{x}\" y=\"31\" width=\"10\" height=\"10\"/>"));
            line(text, format_args!("<text x=\"{}\" y=\"40\">{}</text>", x + 14, escaped(name)));
            x += 32 + name.chars().count() * LETTER;
        }
    }

    fn bars(&self, text: &mut String, top: usize, values: &[Option<f64>]) {
        let mut x = LEFT as f64;
        let mut y = top;
        for (at, value) in values.iter().enumerate() {
            if let Some(value) = value {
                let width = self.width(*value);
                let height = BAR - 2;
                line(
                    text,
                    format_args!(
                        "<rect class=\"s{at}\" x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\"/>"
                    ),
                );
                let said = said(*value);
                let (end, base) = (x + width + 4.0, y + BAR - 4);
                match self.shape {
                    Shape::Stacked => {
                        line(text, format_args!("<text class=\"on\" x=\"{:.1}\" y=\"{base}\">{said}</text>", x + 4.0));
                        x += width;
                    }
                    _ => line(text, format_args!("<text x=\"{end:.1}\" y=\"{base}\">{said}</text>")),
                }
            }
            if self.shape != Shape::Stacked {
                y += BAR;
            }
        }
        if self.shape == Shape::Stacked {
            let whole = said(values.iter().flatten().sum());
            line(text, format_args!("<text x=\"{:.1}\" y=\"{}\">{whole}</text>", x + 4.0, y + BAR - 4));
        }
    }

    fn width(&self, value: f64) -> f64 {
        let of_row = |values: &[Option<f64>]| match self.shape {
            Shape::Stacked => values.iter().flatten().sum(),
            _ => values.iter().flatten().copied().fold(0.0, f64::max),
        };
        let most = self.rows.iter().map(|(_, values)| of_row(values)).fold(0.0, f64::max);
        if most <= 0.0 || value <= 0.0 {
            return 0.0;
        }
        let share = match self.shape {
            Shape::Logarithmic => {
                let all = self.rows.iter().flat_map(|(_, values)| values).flatten().copied();
                // A power of ten below the least, so that it has a bar, too.
                let floor = 10_f64.powf(all.filter(|value| *value > 0.0).fold(most, f64::min).log10().floor() - 0.5);
                (value / floor).ln() / (most / floor).ln()
            }
            _ => value / most,
        };
        share * AREA
    }
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    writeln!(text, "{what}").expect("writing to a string does not fail");
}

// Three digits are as many as a measurement has.
fn said(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace('`', "")
}

const WIDTH: usize = 760;
const LEFT: usize = 250;
const AREA: f64 = 430.0;
const TOP: usize = 54;
const BAR: usize = 15;
const GAP: usize = 9;
// About as wide as a letter is.
const LETTER: usize = 7;
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600;font-size:14px}.end{text-anchor:end}\
.on{fill:#fff}.s0{fill:#1f6feb}.s1{fill:#8b949e}.s2{fill:#bf8700}.s3{fill:#a371f7}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.on{fill:#fff}}";

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(shape: Shape) -> String {
        let rows = vec![("a & b".to_owned(), vec![Some(10.0), None]), ("c".to_owned(), vec![Some(1.0), Some(4.0)])];
        Chart { title: "t".to_owned(), series: vec!["x".to_owned(), "y".to_owned()], rows, shape }.svg()
    }

    #[test]
    fn the_longest_bar_fills_the_width_and_the_others_their_share() {
        let text = chart(Shape::Beside);
        for width in ["width=\"430.0\"", "width=\"43.0\"", "width=\"172.0\""] {
            assert!(text.contains(width), "{width}: {text}");
        }
        assert!(text.contains("a &amp; b"), "{text}");
        assert!(chart(Shape::Stacked).contains(">5.00<"));
    }
}
