//! How a subscription lives: as the source of its items and what it takes to answer with one, and nothing else.
//!
//! The engine would keep all that a request needs for as long as it is open: its document, its loaders, and futures that hold each
//! other. A subscription waits nearly all of its life. So its document is run once to open it, when the field checks what it is
//! asked for and leaves its source here, and then once for each item, when the field gives that item alone.

use std::{
    any::Any,
    sync::{Arc, Mutex, PoisonError},
};

use async_graphql::Context;
use futures_util::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};

use super::Result;

/// An item as its field's source gives it, of a type that the field knows.
pub type SourceItem = Result<Box<dyn Any + Send>>;

/// The items of a subscription's field.
pub type Source = BoxStream<'static, SourceItem>;

/// What a run of a subscription's document is for; in the request's data.
pub enum Turn {
    /// To open it: the field's source is left here.
    Open(Mutex<Option<Source>>),
    /// To answer with an item.
    Tell(Mutex<Option<SourceItem>>),
}

impl Turn {
    pub fn open() -> Arc<Self> {
        Arc::new(Self::Open(Mutex::default()))
    }
    pub fn tell(item: SourceItem) -> Arc<Self> {
        Arc::new(Self::Tell(Mutex::new(Some(item))))
    }
    /// What the field has left, once.
    pub fn source(&self) -> Option<Source> {
        match self {
            Self::Open(source) => take(source),
            Self::Tell(_) => None,
        }
    }
    /// What the field of a subscription gives in this run. `open` checks what is asked for, and gives all items.
    pub fn of<T, S>(
        ctx: &Context<'_>,
        open: impl FnOnce() -> Result<S>,
    ) -> Result<BoxStream<'static, Result<T>>>
    where
        T: Send + 'static,
        S: Stream<Item = Result<T>> + Send + 'static,
    {
        let Some(turn) = ctx.data_opt::<Arc<Self>>() else {
            return Ok(open()?.boxed());
        };
        match &**turn {
            Self::Open(source) => {
                let items = open()?.map(|item| Ok(Box::new(item?) as Box<dyn Any + Send>));
                *source.lock().unwrap_or_else(PoisonError::into_inner) = Some(items.boxed());
                Ok(stream::empty().boxed())
            }
            Self::Tell(item) => {
                let item = take(item).and_then(|item| match item {
                    Ok(item) => item.downcast().ok().map(|item| Ok(*item)),
                    Err(error) => Some(Err(error)),
                });
                Ok(stream::iter(item).boxed())
            }
        }
    }
}

fn take<T>(one: &Mutex<Option<T>>) -> Option<T> {
    one.lock().unwrap_or_else(PoisonError::into_inner).take()
}
