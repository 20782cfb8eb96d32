package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	tell(map[string]attempt{
		"produce-consume":   produceConsume,
		"headers":           headers,
		"compression":       compression,
		"idempotence":       idempotence,
		"group-eager":       share(kgo.Balancers(kgo.RangeBalancer())),
		"group-cooperative": share(kgo.Balancers(kgo.CooperativeStickyBalancer())),
		"group-static":      returnAsStatic,
		"group-consumer":    share(kgo.Balancers(kgo.RangeBalancer()), kgo.ServerSideBalancer()),
		"transactions":      transactions,
		"admin-topics":      adminTopics,
		"admin-configs":     adminConfigs,
		"admin-partitions":  adminPartitions,
		"offsets-by-time":   offsetsByTime,
		"delete-records":    deleteRecords,
	})
}

func produceConsume(ctx context.Context, bootstrap []string, name string) (string, error) {
	sent := numbered("value", 100)
	produce(ctx, bootstrap, name, sent)
	records := read(ctx, bootstrap, name, 100, 3)
	found := values(records)
	slices.Sort(found)
	checkEqual(found, sent, "values")
	for partition := range int32(3) {
		in := values(slices.DeleteFunc(slices.Clone(records), func(r *kgo.Record) bool { return r.Partition != partition }))
		if !slices.IsSorted(in) {
			panic(fmt.Sprintf("partition %d is not in order", partition))
		}
	}
	return "", nil
}

func headers(ctx context.Context, bootstrap []string, name string) (string, error) {
	sent := []kgo.RecordHeader{
		{Key: "trace", Value: []byte{0, 255}}, {Key: "kind", Value: []byte("first")}, {Key: "kind", Value: []byte("zweites ü")},
	}
	client := newClient(bootstrap)
	defer client.Close()
	record := &kgo.Record{Topic: name, Value: []byte("value"), Headers: sent}
	must(client.ProduceSync(ctx, record).FirstErr())
	checkEqual(read(ctx, bootstrap, name, 1, 1)[0].Headers, sent, "headers")
	return "", nil
}

func compression(ctx context.Context, bootstrap []string, name string) (string, error) {
	codecs := []kgo.CompressionCodec{
		kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	}
	var sent []string
	for number, codec := range codecs {
		batch := numbered(fmt.Sprintf("%d-%s", number, strings.Repeat("x", 200)), 50)
		produce(ctx, bootstrap, name, batch, kgo.ProducerBatchCompression(codec))
		sent = append(sent, batch...)
	}
	checkEqual(values(read(ctx, bootstrap, name, 200, 1)), sent, "values")
	return "gzip, snappy, lz4, zstd", nil
}

func idempotence(ctx context.Context, bootstrap []string, name string) (string, error) {
	sent := numbered("value", 300)
	produce(ctx, bootstrap, name, sent, kgo.ProducerBatchMaxBytes(512))
	checkEqual(values(read(ctx, bootstrap, name, 300, 1)), sent, "values")
	return "", nil
}

func transactions(ctx context.Context, bootstrap []string, name string) (string, error) {
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(bootstrap...), kgo.TransactionalID(name+"-id"),
		kgo.ConsumerGroup(name), kgo.ConsumeTopics(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	must(err)
	defer session.Close()
	for number := range 3 {
		if number == 2 { // what the first one wrote is read in the last one, and its offset committed with it
			got := 0
			until(func() bool {
				polled, cancel := context.WithTimeout(ctx, 250*time.Millisecond)
				defer cancel()
				got += session.PollFetches(polled).NumRecords()
				return got == 10
			}, "the first transaction is read")
		}
		must(session.Begin())
		for range 10 {
			record := &kgo.Record{Topic: name, Value: []byte(fmt.Sprintf("transaction-%d", number))}
			must(session.ProduceSync(ctx, record).FirstErr())
		}
		if committed, err := session.End(ctx, kgo.TransactionEndTry(number != 1)); err != nil || committed != (number != 1) {
			panic(fmt.Sprintf("transaction %d: committed is %v, error %v", number, committed, err))
		}
	}
	for _, record := range read(ctx, bootstrap, name, 20, 1, kgo.FetchIsolationLevel(kgo.ReadCommitted())) {
		if string(record.Value) == "transaction-1" {
			panic("aborted data was read")
		}
	}
	read(ctx, bootstrap, name, 30, 1)
	offsets, err := kadm.NewClient(newClient(bootstrap)).FetchOffsets(ctx, name)
	must(err)
	found, _ := offsets.Lookup(name, 0)
	if found.At < 10 { // behind the ten records and the marker of the first, and perhaps behind what was aborted
		panic(fmt.Sprintf("the group's offset is %d", found.At))
	}
	return "", nil
}

func adminTopics(ctx context.Context, bootstrap []string, name string) (string, error) {
	admin := newAdmin(bootstrap)
	defer admin.Close()
	retention := "123456"
	create := func() error {
		made, err := admin.CreateTopics(ctx, 2, 3, map[string]*string{"retention.ms": &retention}, name)
		must(err)
		return made[name].Err
	}
	must(create())
	until(func() bool { return partitionsOf(ctx, admin, name) == 2 }, "it is listed")
	checkEqual(setting(ctx, admin, name, "retention.ms")[0], retention, "retention.ms")
	if err := create(); !errors.Is(err, kerr.TopicAlreadyExists) {
		panic(fmt.Sprintf("a second one: %v", err))
	}
	_, err := admin.DeleteTopics(ctx, name)
	must(err)
	until(func() bool { return partitionsOf(ctx, admin, name) == 0 }, "it is gone")
	return "", nil
}

func adminConfigs(ctx context.Context, bootstrap []string, name string) (string, error) {
	admin := newAdmin(bootstrap)
	defer admin.Close()
	checkEqual(setting(ctx, admin, name, "retention.ms"), [2]string{"604800000", "DEFAULT_CONFIG"}, "before")
	value := "3600000"
	answers, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}, name)
	must(err)
	must(answers[0].Err)
	changed := [2]string{"3600000", "DYNAMIC_TOPIC_CONFIG"}
	until(func() bool { return setting(ctx, admin, name, "retention.ms") == changed }, "the new value shows")
	return "", nil
}

func adminPartitions(ctx context.Context, bootstrap []string, name string) (string, error) {
	admin := newAdmin(bootstrap)
	defer admin.Close()
	grown, err := admin.UpdatePartitions(ctx, 4, name)
	must(err)
	must(grown[name].Err)
	until(func() bool { return partitionsOf(ctx, admin, name) == 4 }, "4 partitions")
	shrunk, err := admin.UpdatePartitions(ctx, 2, name)
	must(err)
	if !errors.Is(shrunk[name].Err, kerr.InvalidPartitions) {
		panic(fmt.Sprintf("fewer partitions: %v", shrunk[name].Err))
	}
	return "", nil
}

func offsetsByTime(ctx context.Context, bootstrap []string, name string) (string, error) {
	first := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	client := newClient(bootstrap)
	for number := range 10 {
		at := first.Add(time.Duration(number) * time.Second)
		must(client.ProduceSync(ctx, &kgo.Record{Topic: name, Value: []byte("value"), Timestamp: at}).FirstErr())
	}
	admin := kadm.NewClient(client)
	defer admin.Close()
	found, err := admin.ListOffsetsAfterMilli(ctx, first.UnixMilli()+4_500, name)
	must(err)
	at, _ := found.Lookup(name, 0)
	checkEqual([2]int64{at.Offset, at.Timestamp - first.UnixMilli()}, [2]int64{5, 5_000}, "offset and time")
	after, err := admin.ListOffsetsAfterMilli(ctx, first.UnixMilli()+20_000, name)
	must(err)
	at, _ = after.Lookup(name, 0)
	checkEqual([2]int64{at.Offset, at.Timestamp}, [2]int64{10, -1}, "where none is, the end") // as kadm tells it
	return "", nil
}

func deleteRecords(ctx context.Context, bootstrap []string, name string) (string, error) {
	produce(ctx, bootstrap, name, numbered("value", 10))
	admin := newAdmin(bootstrap)
	defer admin.Close()
	before := kadm.Offsets{}
	before.AddOffset(name, 0, 4, -1)
	deleted, err := admin.DeleteRecords(ctx, before)
	must(err)
	must(deleted.Error())
	checkEqual(read(ctx, bootstrap, name, 6, 1)[0].Offset, int64(4), "the earliest offset")
	return "", nil
}

// --- how

func newClient(bootstrap []string, options ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap...)}, options...)...)
	must(err)
	return client
}

func newAdmin(bootstrap []string) *kadm.Client { return kadm.NewClient(newClient(bootstrap)) }

func produce(ctx context.Context, bootstrap []string, topic string, values []string, options ...kgo.Opt) {
	client := newClient(bootstrap, options...)
	defer client.Close()
	records := make([]*kgo.Record, len(values))
	for index, value := range values {
		records[index] = &kgo.Record{Topic: topic, Value: []byte(value)}
	}
	must(client.ProduceSync(ctx, records...).FirstErr())
}

// read gives so many records from the start, and fails where more come within half a second.
func read(ctx context.Context, bootstrap []string, topic string, count, partitions int, options ...kgo.Opt) []*kgo.Record {
	from := map[int32]kgo.Offset{}
	for partition := range partitions {
		from[int32(partition)] = kgo.NewOffset().AtStart()
	}
	client := newClient(bootstrap, append(options, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))...)
	defer client.Close()
	var records []*kgo.Record
	poll := func(timeout time.Duration) {
		polled, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		client.PollFetches(polled).EachRecord(func(record *kgo.Record) { records = append(records, record) })
	}
	until(func() bool { poll(250 * time.Millisecond); return len(records) >= count }, fmt.Sprintf("%d are read", count))
	poll(500 * time.Millisecond)
	checkEqual(len(records), count, "records")
	return records
}

func values(records []*kgo.Record) []string {
	found := make([]string, len(records))
	for index, record := range records {
		found[index] = string(record.Value)
	}
	return found
}

func partitionsOf(ctx context.Context, admin *kadm.Client, topic string) int {
	topics, err := admin.ListTopics(ctx)
	must(err)
	return len(topics[topic].Partitions)
}

// setting is its value and where that comes from.
func setting(ctx context.Context, admin *kadm.Client, topic, name string) [2]string {
	described, err := admin.DescribeTopicConfigs(ctx, topic)
	must(err)
	for _, config := range described[0].Configs {
		if config.Key == name {
			return [2]string{config.MaybeValue(), config.Source.String()}
		}
	}
	panic("no setting " + name)
}
