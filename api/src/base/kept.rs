//! What rooms keep one of in a process, by its type: how their timed work, which is given the [`Env`](super::Env) alone,
//! reaches it. The composition root puts it in.

use std::{
    any::{Any, TypeId, type_name},
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::Result;

#[derive(Default)]
pub struct Kept(RwLock<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl Kept {
    pub fn put<T: Any + Send + Sync>(&self, one: Arc<T>) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        kept.insert(TypeId::of::<T>(), one);
    }
    /// Fails where the composition root forgot it.
    pub fn get<T: Any + Send + Sync>(&self) -> Result<Arc<T>> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.get(&TypeId::of::<T>())
            .and_then(|one| Arc::clone(one).downcast().ok())
            .ok_or_else(|| anyhow::anyhow!("this process keeps no {}", type_name::<T>()).into())
    }
}
