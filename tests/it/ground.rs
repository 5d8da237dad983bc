//! The ground floor: the tenant fence, the unit of work, and the traps beneath them.

mod cancel;
mod fence;
mod pool;

use std::sync::atomic::{AtomicU32, Ordering};

use api::base::{Error, LogPlace, NewEvent, Result};
use entity::{contact, contact_identifier, event};
use sea_orm::{IntoActiveModel as _, Set};
use tests::{Kind, on_each_database};

use crate::rows;

#[tokio::test]
async fn a_failed_unit_of_work_leaves_no_trace() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let failed: Result<()> = acme
            .cx
            .write(async |tx| {
                let anna = rows::contact(tx, "anna").await?;
                tx.emit(NewEvent::of_room(
                    "test",
                    "test.happened",
                    anna.id,
                    tx.now(),
                ))
                .await?;
                Err(Error::Forbidden)
            })
            .await;
        assert!(matches!(failed, Err(Error::Forbidden)));
        assert_eq!(acme.cx.db().find::<contact::Entity>().count().await?, 0);
        assert_eq!(
            acme.cx.db().log_after(LogPlace::default()).count().await?,
            0,
            "its event is gone with it"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_unit_of_work_that_lost_a_race_runs_again_from_the_start() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let tries = AtomicU32::new(0);
        let tries = &tries;
        acme.cx
            .write(async |tx| {
                rows::contact(tx, "anna").await?;
                if tries.fetch_add(1, Ordering::Relaxed) < 2 {
                    return Err(Error::Contended);
                }
                Ok(())
            })
            .await?;
        assert_eq!(tries.load(Ordering::Relaxed), 3);
        assert_eq!(acme.cx.db().find::<contact::Entity>().count().await?, 1);

        let hopeless: Result<()> = acme.cx.write(async |_| Err(Error::Contended)).await;
        assert!(matches!(hopeless, Err(Error::Contended)));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn one_tenant_neither_sees_nor_touches_anothers_rows() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let anna = acme
            .cx
            .write(async |tx| rows::contact(tx, "anna").await)
            .await?;
        assert_eq!(
            acme.cx.db().get::<contact::Entity>(anna.id).await?,
            Some(anna.clone())
        );
        assert_eq!(bolt.cx.db().get::<contact::Entity>(anna.id).await?, None);
        assert!(
            bolt.cx
                .db()
                .get_many::<contact::Entity>(&[anna.id])
                .await?
                .is_empty()
        );
        assert_eq!(bolt.cx.db().find::<contact::Entity>().count().await?, 0);

        let mut stolen = anna.clone().into_active_model();
        stolen.distinct_id = Set("stolen".to_owned());
        let refused = bolt.cx.write(async |tx| tx.update(stolen).await).await;
        assert!(matches!(refused, Err(Error::NotFound)), "{refused:?}");
        assert!(
            !bolt
                .cx
                .write(async |tx| tx.delete::<contact::Entity>(anna.id).await)
                .await?
        );
        assert_eq!(
            bolt.cx
                .write(async |tx| tx.delete_many::<contact::Entity>(&[anna.id]).await)
                .await?,
            0
        );

        // A row planted in another's name becomes the planter's own.
        let planted = bolt
            .cx
            .write(async |tx| {
                tx.insert(contact::ActiveModel {
                    id: Set(tx.new_id()),
                    tenant_id: Set(acme.id),
                    status: Set(contact::Status::Anonymous),
                    distinct_id: Set("planted".to_owned()),
                    created_at: Set(tx.now()),
                    updated_at: Set(tx.now()),
                    ..Default::default()
                })
                .await
            })
            .await?;
        assert_eq!(planted.tenant_id, bolt.id);
        assert_eq!(acme.cx.db().find::<contact::Entity>().all().await?, [anna]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn no_row_points_at_another_tenants_row() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        let anna = acme
            .cx
            .write(async |tx| rows::contact(tx, "anna").await)
            .await?;
        acme.cx
            .write(async |tx| rows::identifier(tx, anna.id, "mine").await)
            .await?;
        let refused = bolt
            .cx
            .write(async |tx| rows::identifier(tx, anna.id, "theirs").await)
            .await;
        assert!(matches!(refused, Err(Error::Internal(_))), "{refused:?}");
        let refused = bolt
            .cx
            .write(async |tx| {
                let mut bert = rows::contact(tx, "bert").await?.into_active_model();
                bert.merged_into = Set(Some(anna.id));
                tx.update(bert).await
            })
            .await;
        assert!(matches!(refused, Err(Error::Internal(_))), "{refused:?}");
        assert_eq!(
            bolt.cx
                .db()
                .find::<contact_identifier::Entity>()
                .count()
                .await?,
            0
        );
        assert_eq!(bolt.cx.db().find::<contact::Entity>().count().await?, 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_message_id_is_written_once_a_tenant() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let (acme, bolt) = (kit.tenant("acme").await?, kit.tenant("bolt").await?);
        for tenant in [&acme, &acme, &bolt] {
            tenant
                .cx
                .write(async |tx| {
                    let told = NewEvent {
                        contact_id: None,
                        ..NewEvent::of_room(
                            "test",
                            "test.happened",
                            rows::contact(tx, &tx.new_id::<contact::Entity>().to_string())
                                .await?
                                .id,
                            tx.now(),
                        )
                    };
                    tx.emit(told.once("m1")).await
                })
                .await?;
        }
        assert_eq!(acme.cx.db().find::<event::Entity>().count().await?, 1);
        assert_eq!(bolt.cx.db().find::<event::Entity>().count().await?, 1);
        Ok(())
    })
    .await
}

/// Trap 12: inside a write, only `tx` sees what the write did. A read that goes past it must not hang.
#[tokio::test]
async fn a_stray_read_inside_a_write_sees_the_old_state_at_once() -> anyhow::Result<()> {
    on_each_database(async |kit| {
        let acme = kit.tenant("acme").await?;
        let started = std::time::Instant::now();
        let (inside, stray) = acme
            .cx
            .write(async |tx| {
                rows::contact(tx, "anna").await?;
                let inside = tx.find::<contact::Entity>().count().await?;
                Ok((
                    inside,
                    acme.cx.db().find::<contact::Entity>().count().await?,
                ))
            })
            .await?;
        assert_eq!((inside, stray), (1, 0));
        assert!(started.elapsed().as_secs() < 3, "{:?}", started.elapsed());
        Ok(())
    })
    .await
}

/// Trap 12 again: a write inside a write can only wait for itself on SQLite's one writer, and says so before long.
#[tokio::test]
async fn a_stray_write_inside_a_write_fails_loudly_and_harmlessly_on_sqlite() -> anyhow::Result<()>
{
    on_each_database(async |kit| {
        if kit.database != Kind::Sqlite {
            return Ok(());
        }
        let acme = kit.tenant("acme").await?;
        let stray = acme
            .cx
            .write(async |tx| {
                rows::contact(tx, "outer").await?;
                acme.cx
                    .write(async |inner| rows::contact(inner, "inner").await)
                    .await
            })
            .await;
        assert!(matches!(stray, Err(Error::Internal(_))), "{stray:?}");
        assert_eq!(acme.cx.db().find::<contact::Entity>().count().await?, 0);
        acme.cx
            .write(async |tx| rows::contact(tx, "after").await)
            .await?;
        assert_eq!(acme.cx.db().find::<contact::Entity>().count().await?, 1);
        Ok(())
    })
    .await
}
