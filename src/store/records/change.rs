//! Changes of recorded snapshots: a pin, and the name of a series. The seal of each changed snapshot is confirmed before, and written anew.

use crate::error::{Error, Result};
use crate::store::handle::Store;
use crate::store::records::read::rows_of;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

impl Store {
    /// Pins snapshots, or takes the pin from them, durably, all or none. Fails if the rows of a snapshot are gone or not as recorded, and with
    /// [`Error::Locked`] if others write for too long.
    pub(crate) fn pin(&mut self, ids: &[i64], is_pinned: bool) -> Result<()> {
        let chosen = |_: &Self| Ok(ids.to_vec());
        let pinned = self.change(chosen, |transaction| {
            let mut pin = transaction.prepare("UPDATE snapshot SET pinned = ? WHERE id = ?")?;
            for id in ids {
                pin.execute(params![is_pinned, id])?;
            }
            Ok(())
        });
        pinned.map(drop)
    }

    /// Gives a series another name, durably, and returns the number of snapshots. Fails with [`Error::UnknownSeries`] without the series,
    /// with [`Error::SeriesExists`] if the other name is taken, and as [`Store::pin`] does.
    pub(crate) fn rename_series(&mut self, series: &str, new: &str) -> Result<usize> {
        let chosen = |store: &Self| {
            let snapshots = store.snapshots(Some(series))?;
            if store.latest(new)?.is_some() {
                return Err(Error::SeriesExists {
                    series: new.to_owned(),
                    store: store.path.clone(),
                });
            }
            Ok(snapshots.iter().map(|snapshot| snapshot.id).collect())
        };
        self.change(chosen, |transaction| {
            // A name without snapshots is in nobody's way.
            transaction.execute(
                "DELETE FROM series WHERE +name = ? AND id NOT IN (SELECT series_id FROM snapshot)",
                [new],
            )?;
            let rename = "UPDATE series SET name = ? WHERE +name = ?";
            transaction.execute(rename, [new, series]).map(drop)
        })
    }

    /// Changes rows of the chosen snapshots in one transaction, and returns the number of snapshots. The choice is made inside, since another
    /// run may record a snapshot at any time before.
    fn change(
        &mut self,
        choose: impl FnOnce(&Self) -> Result<Vec<i64>>,
        change: impl FnOnce(&Transaction) -> rusqlite::Result<()>,
    ) -> Result<usize> {
        self.confirmed.get_mut().clear();
        self.connection
            .pragma_update(None, "synchronous", "full")
            .map_err(|e| self.failed(e))?;
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)
                .map_err(|e| self.failed(e))?;
        let ids = choose(self)?;
        for id in &ids {
            if let Some(what) = fault(&transaction, *id).map_err(|e| self.failed(e))? {
                return Err(self.damaged(what));
            }
        }
        let sealed = change(&transaction).and_then(|()| seal_again(&transaction, &ids));
        let changed = sealed.and_then(|()| transaction.commit());
        changed.map_err(|e| self.failed(e))?;
        Ok(ids.len())
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
