package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// member is a consumer in a group; one goroutine polls the members in turn.
type member struct {
	client      *kgo.Client
	lock        sync.Mutex
	assigned    map[int32]bool
	assignments int
}

func join(bootstrap []string, name string, options ...kgo.Opt) *member {
	joined := &member{assigned: map[int32]bool{}}
	forget := func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
		joined.lock.Lock()
		defer joined.lock.Unlock()
		for _, partition := range lost[name] {
			delete(joined.assigned, partition)
		}
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(bootstrap...), kgo.ConsumerGroup(name), kgo.ConsumeTopics(name), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.SessionTimeout(20 * time.Second), kgo.OnPartitionsRevoked(forget), kgo.OnPartitionsLost(forget),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, found map[string][]int32) {
			joined.lock.Lock()
			defer joined.lock.Unlock()
			joined.assignments++
			for _, partition := range found[name] {
				joined.assigned[partition] = true
			}
		}),
	}, options...)...)
	must(err)
	joined.client = client
	return joined
}

func (m *member) poll(read *[]string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 250*time.Millisecond)
	defer cancel()
	m.client.PollFetches(ctx).EachRecord(func(record *kgo.Record) { *read = append(*read, string(record.Value)) })
	return true
}

func (m *member) partitions() []int32 {
	m.lock.Lock()
	defer m.lock.Unlock()
	found := []int32{}
	for partition := range m.assigned {
		found = append(found, partition)
	}
	slices.Sort(found)
	return found
}

func (m *member) rebalances() int {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.assignments
}

// share: two members share the partitions; one leaves, the other takes over.
func share(options ...kgo.Opt) attempt {
	return func(ctx context.Context, bootstrap []string, name string) (string, error) {
		first, second := join(bootstrap, name, options...), join(bootstrap, name, options...)
		defer first.client.Close()
		defer second.client.Close()
		var read, after []string
		early, late := numbered("early", 90), numbered("late", 30)
		until(func() bool { return bothHaveTheirs(first, second, &read) }, "both have their partitions")
		produce(ctx, bootstrap, name, early, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
		until(func() bool { return first.poll(&read) && second.poll(&read) && all(early, read) }, "all 90 are read")
		must(first.client.CommitUncommittedOffsets(ctx))
		must(second.client.CommitUncommittedOffsets(ctx))
		second.client.Close()
		until(func() bool { return first.poll(&after) && len(first.partitions()) == 3 }, "the other takes over")
		produce(ctx, bootstrap, name, late, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
		until(func() bool { return first.poll(&after) && all(late, after) }, "all 30 are read")
		for _, value := range after {
			if slices.Contains(early, value) {
				panic("what was committed was read again")
			}
		}
		if repeats := len(read) + len(after) - 120; repeats > 0 {
			return fmt.Sprintf("%d repeated", repeats), nil
		}
		return "", nil
	}
}

// returnAsStatic: a static member goes and comes back; same partitions, and the other one notices nothing.
func returnAsStatic(_ context.Context, bootstrap []string, name string) (string, error) {
	static := func(instance string) *member {
		return join(bootstrap, name, kgo.InstanceID(instance), kgo.Balancers(kgo.RangeBalancer()))
	}
	first, second := static("instance-1"), static("instance-2")
	defer second.client.Close()
	var read []string
	until(func() bool { return bothHaveTheirs(first, second, &read) }, "both have their partitions")
	had, others, disturbances := first.partitions(), second.partitions(), second.rebalances()
	first.client.Close()
	again := static("instance-1")
	defer again.client.Close()
	until(func() bool { return again.poll(&read) && second.poll(&read) && len(again.partitions()) > 0 }, "it comes back")
	checkEqual(again.partitions(), had, "its partitions")
	checkEqual(second.partitions(), others, "the other one's partitions")
	checkEqual(second.rebalances(), disturbances, "rebalances of the other one")
	return "", nil
}

func bothHaveTheirs(first, second *member, read *[]string) bool {
	first.poll(read)
	second.poll(read)
	mine, yours := first.partitions(), second.partitions()
	together := slices.Concat(mine, yours)
	slices.Sort(together)
	return len(mine) > 0 && len(yours) > 0 && slices.Equal(together, []int32{0, 1, 2})
}

func all(wanted, found []string) bool {
	seen := map[string]bool{}
	for _, value := range found {
		seen[value] = true
	}
	return !slices.ContainsFunc(wanted, func(value string) bool { return !seen[value] })
}
