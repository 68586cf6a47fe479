//! The numbers of a node about itself and the other nodes of its cluster.

use super::metrics_text::{MetricsText, seconds};
use crate::chat::contract::{ClusterCounters, ClusterGauges};
use crate::net::admin::ClusterFigures;

pub(super) fn write(
    text: &mut MetricsText,
    figures: &ClusterFigures,
    gauges: &ClusterGauges,
    totals: &ClusterCounters,
) {
    lease(text, figures);
    let help = "Records to other nodes that wait to be written into the database.";
    text.gauge("cluster_records_unwritten", help, figures.unwritten_records);
    text.gauge("cluster_claims", "Log-ins that wait until another node has let their user go.", gauges.claims);
    text.gauge("cluster_let_gos", "Users that this node is handing over to another one.", gauges.releases);
    text.gauge("cluster_untold", "Users whose node is still to be told something.", gauges.owner_notices);
    let help = "Bans, disconnections and the like that not all nodes have confirmed.";
    text.gauge("cluster_endings", help, gauges.forced_logouts);
    claims(text, totals);
    let help = "Orders to other nodes to read what waits for a user.";
    text.counter("cluster_looks_sent", help, totals.looks_sent);
    let help = "Such orders of other nodes; one may come both over the bus and through the database.";
    text.counter("cluster_looks_received", help, totals.looks_received);
    links(text, gauges, totals);
}

fn lease(text: &mut MetricsText, figures: &ClusterFigures) {
    let lease = &figures.lease;
    text.gauge("cluster_nodes", "Nodes of the cluster that live.", lease.alive_nodes);
    let help = "Age of the oldest of the last signs of life of the nodes that live.";
    text.gauge("cluster_sign_of_life_seconds", help, lease.sign_of_life_age.as_secs_f64());
    let help = "Age of the last renewal of this node's own lease.";
    text.gauge("cluster_lease_age_seconds", help, lease.own_sign_age.as_secs_f64());
    text.counter("cluster_lease_failures", "Renewals of the lease that failed.", lease.failures);
    text.counter("cluster_fences", "Other nodes that this one has fenced.", lease.fences);
    text.counter("cluster_fenced", "Fences of this node by others since the process began.", lease.fence_count);
    let help = "How long the first record in this node's inbox in the database has been the same.";
    text.gauge("cluster_inbox_age_seconds", help, lease.inbox_age.as_secs_f64());
}

fn claims(text: &mut MetricsText, totals: &ClusterCounters) {
    let help = "Log-ins that found their user on another node.";
    text.counter("cluster_claims_begun", help, totals.claims_begun);
    let ended = [
        ("released", totals.claims_released),
        ("fenced", totals.claims_fenced),
        ("unowned", totals.claims_unowned),
        ("dropped", totals.claims_dropped),
    ];
    let help =
        "How these went on: the other node has released the user, its life was over, none had the user, nobody waits.";
    text.counters("cluster_claims_ended", "by", help, ended.map(|(how, count)| (how.to_owned(), count)));
    let help = "Time that log-ins have waited for other nodes, without the dropped ones.";
    text.counter_of_seconds("cluster_claims_wait_seconds", help, totals.claims_ms);
    let help = "Users that were handed over from this node to another one.";
    text.counter("cluster_users_released", help, totals.users_released);
}

fn links(text: &mut MetricsText, gauges: &ClusterGauges, totals: &ClusterCounters) {
    let help = "Links of the bus over which messages can be handed over.";
    text.gauge("cluster_links_up", help, gauges.links_up);
    text.counter("cluster_link_epochs", "Epochs of links that this node has begun.", totals.link_epochs);
    let ended = [("missed", totals.links_refused), ("unconfirmed", totals.links_late), ("bus_away", totals.links_cut)];
    let help = "Epochs of links that ended, because of a gap, a late confirmation, or the bus.";
    text.counters("cluster_link_epochs_ended", "cause", help, ended.map(|(why, count)| (why.to_owned(), count)));
    let help = "Bytes for other nodes that are not confirmed.";
    text.gauge("cluster_unconfirmed_bytes", help, gauges.unconfirmed_bytes);
    let help = "Age of the oldest batch for another node that is not confirmed.";
    text.gauge("cluster_unconfirmed_seconds", help, seconds(gauges.lag_ms * 1_000));
}
