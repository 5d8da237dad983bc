//! What a page costs as the table grows: it should depend on the rows that it shows, not on those that there are.

use std::time::Duration;

use crate::{
    Load, database_family, measure,
    rows::Density,
    seed,
    servers::{Kind, Server},
    work::Item,
    world::World,
};

/// Few rows beside the contacts themselves: they are not what grows.
const DENSITY: Density = Density {
    events: 1,
    deliveries: 1,
};

pub(crate) async fn run(
    server: &str,
    contacts: &[usize],
    fresh: bool,
    connections: usize,
    time: Duration,
) -> anyhow::Result<()> {
    let world = World::of(contacts);
    let url = seed::postgres(server, "growthos_bench_growth", &world, DENSITY, fresh).await?;
    let database = database_family(&url).await?;
    println!(
        "| item | server | contacts of the tenant | req/s | p50 ms | server µs | database µs |"
    );
    println!("|---|---|---|---|---|---|---|");
    for kind in [Kind::Growthos, Kind::Limit] {
        let server = Server::start(kind, &url).await?;
        for item in [Item::Q2, Item::Q3] {
            for tenant in &world.tenants {
                let load = Load {
                    item,
                    contacts: tenant.contacts.clone(),
                    connections,
                    time,
                    seed: 1,
                };
                // The first is to warm up.
                measure(&load, &world, &server, database).await?;
                let sample = measure(&load, &world, &server, database).await?;
                println!(
                    "| {} | {} | {} | {:.0} | {:.2} | {:.0} | {:.0} |",
                    item.title(),
                    kind.title(),
                    tenant.contacts.len(),
                    sample.measured.per_second(),
                    sample.measured.per_mille(500).as_secs_f64() * 1e3,
                    sample.server_us(),
                    sample.database_us(),
                );
            }
        }
    }
    Ok(())
}
