//! Changes of recorded snapshots: a pin, and the name of a series. The seal of each changed snapshot is confirmed before, and written anew.

use crate::error::{Error, Result};
use crate::store::handle::{Store, failed_of};
use crate::store::records::read::rows_of;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

impl Store {
    /// Pins snapshots, or takes the pin from them, durably, all or none. Fails if the rows of a snapshot are gone or not as recorded, and with
    /// [`Error::Locked`] if others write for too long.
    pub(crate) fn pin(&mut self, ids: &[i64], is_pinned: bool) -> Result<()> {
        self.change(ids, |transaction| {
            let mut pin = transaction.prepare("UPDATE snapshot SET pinned = ? WHERE id = ?")?;
            for id in ids {
                pin.execute(params![is_pinned, id])?;
            }
            Ok(())
        })
    }

    /// Gives a series another name, durably, and returns the number of its snapshots. Fails with [`Error::UnknownSeries`] without the series,
    /// with [`Error::SeriesExists`] if the other name is taken, and as [`Store::pin`] does.
    pub(crate) fn rename_series(&mut self, series: &str, new: &str) -> Result<usize> {
        let is_taken = self.latest(new)?.is_some();
        let snapshots = self.snapshots(Some(series))?;
        if is_taken {
            return Err(Error::SeriesExists {
                series: new.to_owned(),
                store: self.path.clone(),
            });
        }
        let ids: Vec<i64> = snapshots.iter().map(|snapshot| snapshot.id).collect();
        self.change(&ids, |transaction| {
            // A name that no snapshot has any more is in nobody's way.
            transaction.execute(
                "DELETE FROM series WHERE +name = ? AND id NOT IN (SELECT series_id FROM snapshot)",
                [new],
            )?;
            transaction
                .execute("UPDATE series SET name = ? WHERE +name = ?", [new, series])
                .map(drop)
        })?;
        Ok(ids.len())
    }

    /// Changes rows of snapshots in one transaction.
    fn change(
        &mut self,
        ids: &[i64],
        change: impl FnOnce(&Transaction) -> rusqlite::Result<()>,
    ) -> Result<()> {
        self.confirmed.get_mut().clear();
        let (path, database) = (self.path.clone(), self.database.clone());
        let failed = move |source: rusqlite::Error| failed_of(&path, &database, source);
        self.connection
            .pragma_update(None, "synchronous", "full")
            .map_err(&failed)?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&failed)?;
        for id in ids {
            if let Some(what) = fault(&transaction, *id).map_err(&failed)? {
                return Err(Error::damaged(&self.database, what));
            }
        }
        let sealed = change(&transaction).and_then(|()| seal_again(&transaction, ids));
        sealed.and_then(|()| transaction.commit()).map_err(&failed)
    }
}

/// Returns the fault of a snapshot's rows, if they are not those recorded.
fn fault(connection: &Connection, id: i64) -> rusqlite::Result<Option<String>> {
    let Some(rows) = rows_of(connection, id)? else {
        return Ok(Some(format!("snapshot {id} is gone")));
    };
    let is_sound = rows.seal.is_none_or(|seal| seal == rows.seal_now());
    let what = format!("the rows of snapshot {id} are not those that were recorded");
    Ok((!is_sound).then_some(what))
}

/// Writes seals and sums of changed rows. A snapshot from before seals gets none: nobody knows what its rows were.
fn seal_again(transaction: &Transaction, ids: &[i64]) -> rusqlite::Result<()> {
    for id in ids {
        // A row with a sum that is no more its own would be refused.
        let query = "UPDATE snapshot SET sum = NULL WHERE id = ? RETURNING seal IS NOT NULL";
        let is_sealed: Option<bool> = transaction
            .query_row(query, [id], |row| row.get(0))
            .optional()?;
        if is_sealed != Some(true) {
            continue;
        }
        let rows = rows_of(transaction, *id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        transaction
            .prepare_cached("UPDATE snapshot SET seal = ?, sum = ? WHERE id = ?")?
            .execute(params![rows.seal_now(), rows.sum_now(), id])?;
    }
    Ok(())
}
