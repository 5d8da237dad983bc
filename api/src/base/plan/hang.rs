//! Lists that hang on each root of a page, newest first: read for all roots at once, over each root's whole family.

use std::{collections::HashMap, mem};

use chrono::{DateTime, Utc};
use entity::TenantOwned;
use sea_orm::{Condition, Order, sea_query::SelectStatement};
use uuid::Uuid;

use super::{Found, Given, Json, ListPlan, ask::Run};
use crate::base::{Cells, Cursors, EachSelect, PageArgs, Read, Result, Scope, Window};

/// What is read of a list: the columns of its table.
pub struct HangingTable<'c, E: TenantOwned> {
    /// Whose the row is.
    pub owner: E::Column,
    pub id: E::Column,
    /// By what it is sorted.
    pub instant: E::Column,
    /// What else the answer needs: the cells from [`MORE`] on.
    pub more: &'c [E::Column],
}

/// Where [`HangingTable::more`] begins in a row's cells.
pub const MORE: usize = 3;

/// One row of such a list.
pub struct HangingRow {
    pub at: DateTime<Utc>,
    pub id: Uuid,
    pub cells: Cells,
}

/// The rows of one list of each root.
pub struct Hanging {
    window: Window,
    counted: bool,
    rows: Vec<Vec<HangingRow>>,
    totals: Vec<i64>,
}

/// The page that such a list is asked for. One that starts at a cursor is not read together with others.
pub fn hanging_page<N>(list: &ListPlan<N>, given: &Given<'_>) -> Run<(PageArgs, Window)> {
    let arguments = list.page_arguments(given)?;
    let window = Window::of(&arguments).ok()?;
    (!window.has_cursor()).then_some((arguments, window))
}

/// The statements that read the list: its rows, and their number where that is asked for. `join` puts other tables beside the
/// rows' own.
pub fn hanging_reads<E: TenantOwned, N>(
    scope: &Scope,
    members: &SelectStatement,
    table: &HangingTable<'_, E>,
    list: &ListPlan<N>,
    window: Window,
    narrow: Condition,
    join: impl FnOnce(&mut EachSelect),
) -> Vec<Read> {
    let mut reads = Vec::with_capacity(2);
    if list.has_rows() {
        let direction = if window.is_backward() {
            Order::Asc
        } else {
            Order::Desc
        };
        let columns: Vec<_> = [table.id, table.instant]
            .into_iter()
            .chain(table.more.iter().copied())
            .collect();
        let mut each = scope.first_of_members::<E>(
            members.clone(),
            table.owner,
            &columns,
            narrow.clone(),
            &[(table.instant, direction.clone()), (table.id, direction)],
            window.rows(),
        );
        join(&mut each);
        reads.push(scope.read(&each.select));
    }
    if list.counts() {
        let count = scope.count_of_members::<E>(members.clone(), table.owner, narrow);
        reads.push(scope.read(&count));
    }
    reads
}

impl Hanging {
    /// Sorts what [`hanging_reads`] found to the roots, whose places `place` gives.
    pub fn gather<N>(
        list: &ListPlan<N>,
        window: Window,
        place: &HashMap<Uuid, usize>,
        found: &mut impl Iterator<Item = Vec<Cells>>,
    ) -> Run<Self> {
        let mut hanging = Self {
            window,
            counted: list.counts(),
            rows: Vec::new(),
            totals: vec![0; place.len()],
        };
        hanging.rows.resize_with(place.len(), Vec::new);
        if list.has_rows() {
            for cells in found.next()? {
                let (root, row) = row(cells).ok()?;
                hanging.rows.get_mut(*place.get(&root)?)?.push(row);
            }
            let most = usize::try_from(window.rows()).ok()?;
            for rows in &mut hanging.rows {
                // Each member of a family gave its first rows; the family's are the first of all of them.
                rows.sort_unstable_by_key(|row| (row.at, row.id));
                if !window.is_backward() {
                    rows.reverse();
                }
                rows.truncate(most);
            }
        }
        if hanging.counted {
            for cells in found.next()? {
                let total = hanging.totals.get_mut(*place.get(&cells.uuid(0).ok()?)?)?;
                *total = cells.long(1).ok()?;
            }
        }
        Some(hanging)
    }

    /// Writes the list of the root at this place, once; `row` writes what is asked of one of its rows.
    pub fn write<N>(
        &mut self,
        json: &mut Json,
        list: &ListPlan<N>,
        given: &Given<'_>,
        place: usize,
        cursors: &Cursors<'_>,
        row: impl FnMut(&mut Json, &N, &HangingRow) -> Run<()>,
    ) -> Run<()> {
        let window = self.window;
        let (rows, total) = self.take(place)?;
        let found = Found {
            window: &window,
            rows,
            total,
        };
        list.write(
            json,
            given,
            found,
            |row: &HangingRow| cursors.at(row.at, row.id).ok(),
            row,
        )
    }

    /// The rows of the root at this place, once, and how many there are in all where that was asked for.
    fn take(&mut self, root: usize) -> Run<(Vec<HangingRow>, Option<i64>)> {
        let rows = mem::take(self.rows.get_mut(root)?);
        Some((rows, self.counted.then_some(*self.totals.get(root)?)))
    }
}

fn row(cells: Cells) -> Result<(Uuid, HangingRow)> {
    let row = HangingRow {
        id: cells.uuid(1)?,
        at: cells.instant(2)?,
        cells,
    };
    Ok((row.cells.uuid(0)?, row))
}
