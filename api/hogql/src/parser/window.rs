//! `OVER (…)`.

use super::{Grown, Parser, Result};
use crate::ast::{Bound, Call, Expr, Frame, FrameUnit, Window};

impl Parser<'_> {
    pub(super) fn window(&mut self, call: Call, mut tallest: usize) -> Result<Grown<Expr>> {
        self.expect_word("over")?;
        self.expect_symbol("(")?;
        let partition_by = if self.take_words(&["partition", "by"]) {
            self.commas(&mut tallest, Self::expr)?
        } else {
            Vec::new()
        };
        let order_by = self.order_by(&mut tallest)?;
        let frame = self.frame()?;
        self.expect_symbol(")")?;
        let window = Window {
            call,
            partition_by,
            order_by,
            frame,
        };
        self.node(tallest, Expr::Window(window.into()))
    }

    fn frame(&mut self) -> Result<Option<Frame>> {
        let unit = if self.take_word("rows") {
            FrameUnit::Rows
        } else if self.take_word("range") {
            FrameUnit::Range
        } else {
            return Ok(None);
        };
        if !self.take_word("between") {
            let start = self.bound()?;
            let end = None;
            return Ok(Some(Frame { unit, start, end }));
        }
        let start = self.bound()?;
        self.expect_word("and")?;
        let end = Some(self.bound()?);
        Ok(Some(Frame { unit, start, end }))
    }

    fn bound(&mut self) -> Result<Bound> {
        if self.take_words(&["current", "row"]) {
            return Ok(Bound::CurrentRow);
        }
        if self.take_word("unbounded") {
            if self.take_word("preceding") {
                return Ok(Bound::UnboundedPreceding);
            }
            self.expect_word("following")?;
            return Ok(Bound::UnboundedFollowing);
        }
        let rows = self.row_count()?;
        if self.take_word("preceding") {
            return Ok(Bound::Preceding(rows));
        }
        self.expect_word("following")?;
        Ok(Bound::Following(rows))
    }
}
