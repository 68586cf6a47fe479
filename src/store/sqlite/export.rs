//! A SQLite store as the source or target of a copy, page by page.

use super::{SqliteStore, corrupt_error};
use crate::store::portable::{
    CopyColumnValue, CopyReadLimits, CopyRow, CopyTableColumn, CopyTableSchema, CopyableStore, UNFINISHED,
    row_weight_bytes,
};
use crate::store::{StoreConnection, StoreError};
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, Value};

impl ToSql for CopyColumnValue {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Text(text) => text.to_sql(),
            Self::Number(number) => i64::try_from(*number)
                .map(|number| ToSqlOutput::Owned(Value::Integer(number)))
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into())),
        }
    }
}

fn name(column: &CopyTableColumn) -> &'static str {
    match column {
        CopyTableColumn::Text(name) | CopyTableColumn::Number(name) => name,
        CopyTableColumn::Created => "created_ms",
    }
}

fn join<'a>(columns: &'a [CopyTableColumn], one: impl Fn(&'a CopyTableColumn) -> &'a str) -> String {
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn select(table: &CopyTableSchema, after: bool) -> String {
    let columns = join(table.columns, |column| match column {
        // The clock may have had any value, but both stores have a limited range.
        CopyTableColumn::Created => "min(max(created_ms, 0), 253402300799999)",
        column => name(column),
    });
    let key = join(&table.columns[..table.key], name);
    let marks = vec!["?"; table.key].join(", ");
    let condition = if after { format!("WHERE ({key}) > ({marks})") } else { String::new() };
    format!("SELECT {columns} FROM {} {condition} ORDER BY {key} LIMIT ?", table.name)
}

fn insert(table: &CopyTableSchema) -> String {
    let columns = join(table.columns, name);
    let marks = vec!["?"; table.columns.len()].join(", ");
    format!("INSERT INTO {} ({columns}) VALUES ({marks})", table.name)
}

fn field(row: &rusqlite::Row<'_>, at: usize, column: &CopyTableColumn) -> Result<CopyColumnValue, StoreError> {
    let value = row.get_ref(at)?;
    Ok(match column {
        CopyTableColumn::Text(_) => CopyColumnValue::Text(value.as_str().map_err(rusqlite::Error::from)?.into()),
        CopyTableColumn::Number(_) | CopyTableColumn::Created => {
            let number = value.as_i64().map_err(rusqlite::Error::from)?;
            CopyColumnValue::Number(u64::try_from(number).map_err(|_| corrupt_error("a negative number"))?)
        }
    })
}

impl SqliteStore {
    fn write_all(&self, table: &CopyTableSchema, rows: &[CopyRow]) -> Result<(), StoreError> {
        // There are no round trips to save: inserting single rows by a prepared statement is as
        // fast as many rows in one statement.
        let mut insert = self.db.prepare_cached(&insert(table))?;
        for row in rows {
            insert.execute(rusqlite::params_from_iter(row))?;
        }
        Ok(())
    }

    fn set_version(&self, version: i64) -> Result<(), StoreError> {
        Ok(self.db.pragma_update(None, "user_version", version)?)
    }
}

impl CopyableStore for SqliteStore {
    fn count(&mut self, table: &CopyTableSchema) -> Result<u64, StoreError> {
        let count: i64 = self.db.query_row(&format!("SELECT count(*) FROM {}", table.name), [], |row| row.get(0))?;
        u64::try_from(count).map_err(|_| corrupt_error("a negative count"))
    }

    fn read(
        &mut self,
        table: &CopyTableSchema,
        after: Option<&[CopyColumnValue]>,
        max: CopyReadLimits,
    ) -> Result<Vec<CopyRow>, StoreError> {
        let mut find = self.db.prepare_cached(&select(table, after.is_some()))?;
        let limit = CopyColumnValue::Number(max.rows.into());
        let mut found = find.query(rusqlite::params_from_iter(after.unwrap_or_default().iter().chain([&limit])))?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while bytes < max.bytes
            && let Some(row) = found.next()?
        {
            let fields = table.columns.iter().enumerate().map(|(at, column)| field(row, at, column));
            let fields = fields.collect::<Result<CopyRow, _>>()?;
            bytes += row_weight_bytes(&fields);
            rows.push(fields);
        }
        Ok(rows)
    }

    fn write(&mut self, table: &CopyTableSchema, rows: &[CopyRow]) -> Result<(), StoreError> {
        self.begin()?;
        let written = self.write_all(table, rows).and_then(|()| self.commit());
        if written.is_err() {
            self.rollback();
        }
        written
    }

    fn mark_unfinished(&mut self) -> Result<(), StoreError> {
        self.set_version(UNFINISHED)
    }

    fn unmark(&mut self) -> Result<(), StoreError> {
        self.set_version(super::open::MIGRATIONS.len() as i64)
    }

    fn check_lock(&mut self) -> Result<(), StoreError> {
        // The lock on the file lasts as long as the handle that holds it.
        Ok(())
    }
}
