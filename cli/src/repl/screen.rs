//! A table on a terminal: which lines are shown, and which cells are marked. It draws nothing: it gives lines.
//!
//! ```text
//!    city │ rides │ km          header
//!   ──────┼───────┼────
//!    Bern │     1 │  4          rows from `top` on, columns from `left` on, cut at the terminal's width
//!    Oslo │    [2]│ [8]         [changed lately]
//! ```

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A column takes no more room than this, so that its neighbours are seen.
const WIDTH_MAX: usize = 48;

/// A cell, and whether it has changed lately.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) changed: bool,
}

/// What is to be shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Screen {
    pub(super) header: Vec<String>,
    /// Numbers stand to the right.
    pub(super) right: Vec<bool>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// The first column that is shown.
    pub(super) left: usize,
}

/// A stretch of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) text: String,
    pub(super) marked: bool,
}

impl Screen {
    /// The lines, none wider than `width`.
    pub(super) fn lines(&self, width: usize) -> Vec<Vec<Stretch>> {
        let widths = self.widths();
        let shown = self.left.min(self.header.len().saturating_sub(1))..self.header.len();
        let header: Vec<Cell> = self
            .header
            .iter()
            .map(|name| Cell {
                text: name.clone(),
                changed: false,
            })
            .collect();
        let rule = shown
            .clone()
            .map(|column| "─".repeat(widths[column] + 2))
            .collect::<Vec<_>>()
            .join("┼");
        let mut lines = vec![
            self.line(&header, &widths, shown.clone(), width),
            vec![Stretch {
                text: cut(&rule, width),
                marked: false,
            }],
        ];
        lines.extend(
            self.rows
                .iter()
                .map(|row| self.line(row, &widths, shown.clone(), width)),
        );
        lines
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.header.iter().map(|name| name.width()).collect();
        for row in &self.rows {
            for (known, cell) in widths.iter_mut().zip(row) {
                *known = (*known).max(cell.text.width());
            }
        }
        widths.iter().map(|width| (*width).min(WIDTH_MAX)).collect()
    }

    fn line(
        &self,
        cells: &[Cell],
        widths: &[usize],
        shown: std::ops::Range<usize>,
        width: usize,
    ) -> Vec<Stretch> {
        let (mut line, mut used) = (Vec::new(), 0);
        let mut add = |text: String, marked: bool| {
            let text = cut(&text, width.saturating_sub(used));
            used += text.width();
            if !text.is_empty() {
                line.push(Stretch { text, marked });
            }
        };
        for (place, column) in shown.enumerate() {
            let empty = Cell::default();
            let cell = cells.get(column).unwrap_or(&empty);
            let text = if cell.text.width() > widths[column] {
                format!("{}…", cut(&cell.text, widths[column].saturating_sub(1)))
            } else {
                cell.text.clone()
            };
            let pad = " ".repeat(widths[column].saturating_sub(text.width()));
            let (before, after) = if self.right.get(column) == Some(&true) {
                (pad, String::new())
            } else {
                (String::new(), pad)
            };
            add(
                if place == 0 { " " } else { "│ " }.to_owned() + &before,
                false,
            );
            add(text, cell.changed);
            add(after + " ", false);
        }
        line
    }
}

/// The text cut to so many columns of a terminal.
pub(super) fn cut(text: &str, columns: usize) -> String {
    let mut used = 0;
    text.chars()
        .take_while(|character| {
            used += character.width().unwrap_or(0);
            used <= columns
        })
        .collect()
}

/// Without what would move the cursor.
pub(super) fn one_line(text: String) -> String {
    if text.chars().any(char::is_control) {
        text.escape_debug().to_string()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(rows: &[&[&str]]) -> Screen {
        Screen {
            header: vec!["city".to_owned(), "n".to_owned()],
            right: vec![false, true],
            rows: rows
                .iter()
                .map(|row| {
                    row.iter()
                        .map(|text| Cell {
                            text: (*text).to_owned(),
                            changed: *text == "8",
                        })
                        .collect()
                })
                .collect(),
            left: 0,
        }
    }

    fn text(line: &[Stretch]) -> String {
        line.iter().map(|stretch| stretch.text.as_str()).collect()
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them_on_a_terminal() {
        let lines = screen(&[&["東京", "8"], &["Oslo", "12"], &["e\u{301}", "7"]]).lines(80);
        let texts: Vec<String> = lines.iter().map(|line| text(line)).collect();
        assert_eq!(
            texts,
            [
                " city │  n ",
                "──────┼────",
                " 東京 │  8 ",
                " Oslo │ 12 ",
                " e\u{301}    │  7 "
            ]
        );
        let marked: Vec<&str> = lines[2]
            .iter()
            .filter(|s| s.marked)
            .map(|s| s.text.as_str())
            .collect();
        assert_eq!(marked, ["8"]);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let wide = "x".repeat(200);
        let mut table = screen(&[&[&wide, "1"], &["東京東京東京", "2"]]);
        for width in 0..70 {
            for line in table.lines(width) {
                assert!(text(&line).width() <= width, "{width}");
            }
        }
        assert!(text(&table.lines(80)[2]).contains("x…"));
        table.left = 1;
        assert_eq!(text(&table.lines(80)[2]), " 1 ");
        table.left = 9;
        assert_eq!(text(&table.lines(80)[0]), " n ");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(one_line("a\u{1b}[2Jb\n".to_owned()), "a\\u{1b}[2Jb\\n");
    }
}
