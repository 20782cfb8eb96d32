//! What members of a group have to do; one thread polls them in turn.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::message::Message;

use crate::telling::{check, check_equal, numbered, until, Failure, Told};

struct Counting(Arc<AtomicUsize>);

impl ClientContext for Counting {}

impl ConsumerContext for Counting {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Assign(_)) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

pub struct Member {
    consumer: BaseConsumer<Counting>,
    assignments: Arc<AtomicUsize>,
    polled: bool,
}

impl Member {
    pub fn join(bootstrap: &str, name: &str, options: &[(&str, &str)]) -> Result<Member, Failure> {
        let assignments = Arc::new(AtomicUsize::new(0));
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("group.id", name)
            .set("auto.offset.reset", "earliest");
        config.set("enable.auto.commit", "false");
        for (option, value) in options {
            config.set(*option, *value);
        }
        let consumer: BaseConsumer<Counting> = config.create_with_context(Counting(assignments.clone()))?;
        consumer.subscribe(&[name])?;
        Ok(Member {
            consumer,
            assignments,
            polled: false,
        })
    }

    fn poll(&mut self, read: &mut Vec<String>) -> Result<bool, Failure> {
        let mut timeout = Duration::from_millis(250);
        while let Some(found) = self.consumer.poll(timeout) {
            if let Ok(message) = found {
                read.push(String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned());
                self.polled = true;
            }
            timeout = Duration::ZERO;
        }
        Ok(true)
    }

    fn partitions(&self) -> Result<BTreeSet<i32>, Failure> {
        Ok(self
            .consumer
            .assignment()?
            .elements()
            .iter()
            .map(|element| element.partition())
            .collect())
    }

    fn commit(&self) -> Result<(), Failure> {
        if self.polled {
            self.consumer.commit_consumer_state(CommitMode::Sync)?;
        }
        Ok(())
    }
}

/// Two members share the partitions; one leaves, the other takes over.
pub fn share(make: impl Fn() -> Result<Member, Failure>, produce: impl Fn(&[String]) -> Result<(), Failure>) -> Told {
    let (mut first, mut second) = (make()?, make()?);
    let (early, late) = (numbered("early", 90), numbered("late", 30));
    let (mut read, mut after) = (Vec::new(), Vec::new());
    until(
        || both_have_theirs(&mut first, &mut second, &mut read),
        "both have their partitions",
    )?;
    produce(&early)?;
    until(
        || Ok(first.poll(&mut read)? && second.poll(&mut read)? && early.iter().all(|value| read.contains(value))),
        "all 90 are read",
    )?;
    first.commit()?;
    second.commit()?;
    drop(second);
    until(
        || Ok(first.poll(&mut after)? && first.partitions()?.len() == 3),
        "the other takes over",
    )?;
    produce(&late)?;
    until(
        || Ok(first.poll(&mut after)? && late.iter().all(|value| after.contains(value))),
        "all 30 are read",
    )?;
    check(
        !early.iter().any(|value| after.contains(value)),
        "what was committed was read again",
    )?;
    let repeats = read.len() + after.len() - 120;
    Ok(if repeats > 0 {
        format!("{repeats} repeated")
    } else {
        String::new()
    })
}

/// A static member goes and comes back: same partitions, and the other one notices nothing.
pub fn return_as_static(make: impl Fn(&str) -> Result<Member, Failure>) -> Told {
    let (mut first, mut second) = (make("instance-1")?, make("instance-2")?);
    let mut read = Vec::new();
    until(
        || both_have_theirs(&mut first, &mut second, &mut read),
        "both have their partitions",
    )?;
    let (had, others) = (first.partitions()?, second.partitions()?);
    let disturbances = second.assignments.load(Ordering::SeqCst);
    drop(first);
    let mut again = make("instance-1")?;
    until(
        || Ok(again.poll(&mut read)? && second.poll(&mut read)? && !again.partitions()?.is_empty()),
        "the member comes back",
    )?;
    check_equal(again.partitions()?, had, "its partitions")?;
    check_equal(second.partitions()?, others, "the other one's partitions")?;
    check_equal(
        second.assignments.load(Ordering::SeqCst),
        disturbances,
        "rebalances of the other one",
    )?;
    Ok(String::new())
}

fn both_have_theirs(first: &mut Member, second: &mut Member, read: &mut Vec<String>) -> Result<bool, Failure> {
    first.poll(read)?;
    second.poll(read)?;
    let (mine, yours) = (first.partitions()?, second.partitions()?);
    Ok(!mine.is_empty() && !yours.is_empty() && mine.is_disjoint(&yours) && mine.len() + yours.len() == 3)
}
