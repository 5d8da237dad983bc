//! What a process remembers of a tenant for a moment, so that it need not be read with every write.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use entity::TenantId;

/// How long another process's change may go unnoticed.
const REMEMBERED_FOR: TimeDelta = TimeDelta::seconds(1);

/// Things remembered at a time: what a process that serves many tenants needs, and no more memory than that.
const THINGS_MAX: usize = 10_000;

type Thing = (DateTime<Utc>, Arc<dyn Any + Send + Sync>);

/// One thing of each type a tenant.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<(TypeId, TenantId), Thing>>);

impl Memory {
    /// What was remembered less than a second before `now`.
    pub fn recall<T: Any + Send + Sync>(
        &self,
        tenant: TenantId,
        now: DateTime<Utc>,
    ) -> Option<Arc<T>> {
        let things = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, thing) = things.get(&(TypeId::of::<T>(), tenant))?;
        let fresh = (*since..=*since + REMEMBERED_FOR).contains(&now);
        fresh.then(|| Arc::clone(thing))?.downcast().ok()
    }
    pub fn remember<T: Any + Send + Sync>(
        &self,
        tenant: TenantId,
        now: DateTime<Utc>,
        thing: Arc<T>,
    ) {
        let mut things = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if things.len() >= THINGS_MAX {
            things.clear();
        }
        things.insert((TypeId::of::<T>(), tenant), (now, thing));
    }
    /// To be called where the thing changes.
    pub fn forget<T: Any>(&self, tenant: TenantId) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&(TypeId::of::<T>(), tenant));
    }
}

#[cfg(test)]
mod tests {
    use entity::Id;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_thing_is_remembered_for_a_second_and_of_its_tenant_alone() {
        let memory = Memory::default();
        let (acme, bolt) = (
            Id::from_uuid(Uuid::from_u128(1)),
            Id::from_uuid(Uuid::from_u128(2)),
        );
        let now = DateTime::UNIX_EPOCH;
        memory.remember(acme, now, Arc::new(7_u8));
        let later = now + TimeDelta::seconds(1);
        assert_eq!(memory.recall::<u8>(acme, later).as_deref(), Some(&7));
        assert_eq!(memory.recall::<u8>(bolt, now), None);
        assert_eq!(memory.recall::<u16>(acme, now), None);
        let too_late = later + TimeDelta::microseconds(1);
        assert_eq!(memory.recall::<u8>(acme, too_late), None);
        memory.forget::<u8>(acme);
        assert_eq!(memory.recall::<u8>(acme, now), None);
    }
}
