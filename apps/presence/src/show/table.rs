//! Aligned columns.

use std::fmt;

/// A table: the first columns to the left, the others to the right.
#[derive(Debug)]
pub(crate) struct Table {
    left: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With one column to the left.
    pub(crate) fn new<const N: usize>(head: [&str; N]) -> Self {
        Self { left: 1, rows: vec![head.map(str::to_owned).into()] }
    }

    /// With so many columns to the left.
    pub(crate) fn left(self, left: usize) -> Self {
        Self { left, ..self }
    }

    pub(crate) fn row<const N: usize>(&mut self, row: [String; N]) {
        self.rows.push(row.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let widths: Vec<_> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
            })
            .collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column < self.left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["what", "time"]);
        table.row(["a".into(), "1 µs".into()]);
        table.row(["longer".into(), "12 µs".into()]);
        assert_eq!(table.to_string(), "what     time\na        1 µs\nlonger  12 µs\n");
    }

    #[test]
    fn more_than_one_column_may_be_to_the_left() {
        let mut table = Table::new(["a", "b", "n"]).left(2);
        table.row(["x".into(), "long".into(), "10".into()]);
        assert_eq!(table.to_string(), "a  b      n\nx  long  10\n");
    }
}
