//! A MySQL store as the source or target of a copy, page by page.

use super::{
    MysqlConnector, MysqlStore, ROW_BYTES, SIZES, STATEMENT_BYTES_MAX, corrupt_error, number, repeat_list,
    size_of_group, text,
};
use crate::store::portable::{
    CopyColumnValue, CopyReadLimits, CopyRow, CopyTableColumn, CopyTableSchema, CopyableStore, row_weight_bytes,
};
use crate::store::{StoreConnection, StoreError};
use mysql::Value;
use mysql::prelude::Queryable;

/// A store, and the server connection that holds its lock.
#[derive(Debug)]
pub struct MysqlCopyStore {
    store: MysqlStore,
    server: MysqlConnector,
}

impl MysqlCopyStore {
    /// Opens the store in the role of `server`.
    ///
    /// # Errors
    /// As [`MysqlConnector::connect`].
    pub fn open(server: MysqlConnector) -> Result<Self, StoreError> {
        Ok(Self { store: server.connect()?, server })
    }

    fn write_all(&mut self, table: &CopyTableSchema, rows: &[CopyRow]) -> Result<(), StoreError> {
        let mut rest = rows;
        while !rest.is_empty() {
            let weight = |size: usize| rest[..size].iter().map(|row| row_weight_bytes(row)).sum::<usize>();
            let size = SIZES[size_of_group(rest.len(), |size| weight(size) <= STATEMENT_BYTES_MAX)];
            if (weight(size) + ROW_BYTES) as u64 > self.store.packet_max {
                let why = format!("a row of {} is larger than max_allowed_packet of the database", table.name);
                return Err(StoreError::Refused(why));
            }
            let (group, after) = rest.split_at(size);
            self.store.change(&insert(table, size), group.iter().flatten().map(value).collect())?;
            rest = after;
        }
        Ok(())
    }
}

fn name(column: &CopyTableColumn) -> &'static str {
    match column {
        CopyTableColumn::Text(name) | CopyTableColumn::Number(name) => name,
        CopyTableColumn::Created => "created_at",
    }
}

fn join<'a>(columns: &'a [CopyTableColumn], one: impl Fn(&'a CopyTableColumn) -> &'a str) -> String {
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The SQL condition for rows after a key of several columns, written as index ranges, because not
/// every server recognises `(a, b) > (?, ?)` as such.
fn after_key_condition(key: &[CopyTableColumn]) -> String {
    match key {
        [last] => format!("{} > ?", name(last)),
        [first, rest @ ..] => {
            format!("({first} > ? OR ({first} = ? AND {}))", after_key_condition(rest), first = name(first))
        }
        [] => "TRUE".to_owned(),
    }
}

/// The values for the placeholders of [`after_key_condition`].
fn behind_values(key: &[CopyColumnValue], values: &mut Vec<Value>) {
    match key {
        [last] => values.push(value(last)),
        [first, rest @ ..] => {
            values.extend([value(first), value(first)]);
            behind_values(rest, values);
        }
        [] => {}
    }
}

fn select(table: &CopyTableSchema, after: bool) -> String {
    let columns = join(table.columns, |column| match column {
        CopyTableColumn::Created => "GREATEST(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created_at) DIV 1000, 0)",
        column => name(column),
    });
    let key = &table.columns[..table.key];
    let condition = if after { format!("WHERE {}", after_key_condition(key)) } else { String::new() };
    format!("SELECT {columns} FROM {} {condition} ORDER BY {} LIMIT ?", table.name, join(key, name))
}

fn insert(table: &CopyTableSchema, rows: usize) -> String {
    let columns = join(table.columns, name);
    let marks = join(table.columns, |column| match column {
        CopyTableColumn::Created => "TIMESTAMP('1970-01-01') + INTERVAL (? * 1000) MICROSECOND",
        _ => "?",
    });
    format!("INSERT INTO {} ({columns}) VALUES {}", table.name, repeat_list(&format!("({marks})"), rows))
}

fn value(field: &CopyColumnValue) -> Value {
    match field {
        CopyColumnValue::Text(text) => super::bytes(text),
        CopyColumnValue::Number(number) => Value::UInt(*number),
    }
}

fn field(row: &mysql::Row, at: usize, column: &CopyTableColumn) -> Result<CopyColumnValue, StoreError> {
    Ok(match column {
        CopyTableColumn::Text(_) => CopyColumnValue::Text(text(row, at)?.into()),
        CopyTableColumn::Number(_) | CopyTableColumn::Created => CopyColumnValue::Number(number(row, at)?),
    })
}

fn weight_bytes(row: &mysql::Row) -> usize {
    (0..row.len()).map(|at| row.as_ref(at).map_or(0, |value| value.bin_len() as usize)).sum()
}

impl CopyableStore for MysqlCopyStore {
    fn count(&mut self, table: &CopyTableSchema) -> Result<u64, StoreError> {
        let row = self.store.row(&format!("SELECT count(*) FROM {}", table.name), Vec::new())?;
        row.map_or_else(|| Err(corrupt_error("no count")), |row| number(&row, 0))
    }

    fn read(
        &mut self,
        table: &CopyTableSchema,
        after: Option<&[CopyColumnValue]>,
        max: CopyReadLimits,
    ) -> Result<Vec<CopyRow>, StoreError> {
        let mut values = Vec::new();
        behind_values(after.unwrap_or_default(), &mut values);
        values.push(Value::UInt(max.rows.into()));
        let sql = select(table, after.is_some());
        let found = self.store.run(|conn| {
            let (mut found, mut bytes) = (Vec::new(), 0);
            for row in conn.exec_iter(sql, values)? {
                // One row at a time and to the end: the driver would otherwise read the rest itself
                // and hide its errors.
                let row = row?;
                if bytes < max.bytes {
                    bytes += weight_bytes(&row);
                    found.push(row);
                }
            }
            Ok(found)
        })?;
        let fields = |row: &mysql::Row| table.columns.iter().enumerate().map(|(at, one)| field(row, at, one)).collect();
        found.iter().map(fields).collect()
    }

    fn write(&mut self, table: &CopyTableSchema, rows: &[CopyRow]) -> Result<(), StoreError> {
        self.store.begin()?;
        let written = self.write_all(table, rows).and_then(|()| self.store.commit());
        if written.is_err() {
            self.store.rollback();
        }
        written
    }

    fn mark_unfinished(&mut self) -> Result<(), StoreError> {
        self.server.set_mark(true)
    }

    fn unmark(&mut self) -> Result<(), StoreError> {
        self.server.set_mark(false)?;
        // Like a server that stops: a standby need not wait until the copy shows no sign of life.
        self.server.release();
        Ok(())
    }

    fn check_lock(&mut self) -> Result<(), StoreError> {
        self.server.check_lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_behind_a_key_is_a_range_for_each_of_its_columns() {
        let key = [CopyTableColumn::Text("a"), CopyTableColumn::Number("b"), CopyTableColumn::Text("c")];
        let sql = after_key_condition(&key);
        assert_eq!(sql, "(a > ? OR (a = ? AND (b > ? OR (b = ? AND c > ?))))");
        let mut values = Vec::new();
        behind_values(
            &[CopyColumnValue::Text("x".into()), CopyColumnValue::Number(7), CopyColumnValue::Text("y".into())],
            &mut values,
        );
        let (x, seven, y) = (super::super::bytes("x"), Value::UInt(7), super::super::bytes("y"));
        assert_eq!(values, [x.clone(), x, seven.clone(), seven, y]);
        assert_eq!(sql.matches('?').count(), values.len());
    }
}
