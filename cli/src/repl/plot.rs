//! A numeric column over time, as a chart of text.
//!
//! ```text
//!     80 ┤        ▂█
//!        ┤   ▃▆████
//!      0 ┤▁▅███████
//!        └─────────
//! ```

/// Eighths of a line.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The lines of a chart of `values`, the newest to the right: of each stretch that one column stands for, its last.
pub(super) fn chart(values: &[f64], width: usize, height: usize) -> Vec<String> {
    let finite: Vec<f64> = values
        .iter()
        .copied()
        .filter(|value| value.is_finite())
        .collect();
    let height = height.max(2);
    let (least, most) = finite
        .iter()
        .fold((0.0_f64, f64::MIN), |(least, most), &value| {
            (least.min(value), most.max(value))
        });
    if finite.is_empty() {
        return vec!["no value yet".to_owned()];
    }
    let span = if most > least { most - least } else { 1.0 };
    let labels = [number(most), number(least)];
    let margin = labels.iter().map(String::len).max().unwrap_or(0);
    let room = width.saturating_sub(margin + 3).max(1);
    let shown: Vec<f64> = if finite.len() <= room {
        finite
    } else {
        (0..room)
            .map(|at| finite[(at + 1) * finite.len() / room - 1])
            .collect()
    };
    let eighths: Vec<usize> = shown
        .iter()
        .map(|value| ((value - least) / span * (height * 8) as f64).round() as usize)
        .collect();
    let mut lines: Vec<String> = (0..height)
        .map(|line| {
            let label = match line {
                0 => labels[0].as_str(),
                line if line + 1 == height => labels[1].as_str(),
                _ => "",
            };
            let below = (height - 1 - line) * 8;
            let bars: String = eighths
                .iter()
                .map(|&full| BARS[full.saturating_sub(below).min(8)])
                .collect();
            format!("{label:>margin$} ┤{bars}").trim_end().to_owned()
        })
        .collect();
    lines.push(format!("{:margin$} └{}", "", "─".repeat(shown.len())));
    lines
}

fn number(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e15 {
        format!("{value:.0}")
    } else {
        format!("{value:.3}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_the_newest_value_at_its_right() {
        assert_eq!(
            chart(&[0.0, 2.0, 4.0], 20, 2),
            ["4 ┤  █", "0 ┤ ██", "  └───"]
        );
        assert_eq!(chart(&[], 20, 3), ["no value yet"]);
        let many: Vec<f64> = (0..1000).map(f64::from).collect();
        let lines = chart(&many, 30, 4);
        assert!(
            lines.iter().all(|line| line.chars().count() <= 30),
            "{lines:?}"
        );
        assert!(
            lines[0].ends_with('█') || lines[0].ends_with('▇'),
            "{lines:?}"
        );
        assert_eq!(chart(&[-1.0, 1.0], 20, 2).len(), 3);
    }
}
