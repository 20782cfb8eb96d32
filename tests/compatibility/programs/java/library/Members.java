import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

/** What members of a group have to do; one thread polls them in turn. */
final class Members {
    private static final Set<Integer> PARTITIONS = Set.of(0, 1, 2);

    /** A subscribed consumer. */
    static final class Member {
        int assignments = 0;
        private final KafkaConsumer<String, String> consumer;

        Member(Map<String, Object> settings, String topic) {
            consumer = new KafkaConsumer<>(settings);
            consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                    assignments++;
                }

                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> partitions) {}
            });
        }

        boolean poll(List<String> read) {
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(250))) {
                read.add(record.value());
            }
            return true;
        }

        Set<Integer> partitions() {
            Set<Integer> found = new TreeSet<>();
            consumer.assignment().forEach(partition -> found.add(partition.partition()));
            return found;
        }
    }

    private Members() {}

    /** Two members share the partitions; one leaves, the other takes over. */
    static String share(Supplier<Member> make, Consumer<List<String>> produce) {
        List<String> read = new ArrayList<>();
        List<String> after = new ArrayList<>();
        List<String> early = values("early", 90);
        List<String> late = values("late", 30);
        Member first = make.get();
        Member second = make.get();
        try {
            Telling.pollUntil(() -> bothHaveTheirs(first, second, read), "both have their partitions");
            produce.accept(early);
            Telling.pollUntil(() -> first.poll(read) && second.poll(read) && new HashSet<>(read).containsAll(early),
                "all 90 are read");
            first.consumer.commitSync();
            second.consumer.commitSync();
        } finally {
            second.consumer.close();
        }
        try {
            Telling.pollUntil(() -> first.poll(after) && first.partitions().equals(PARTITIONS), "the other takes over");
            produce.accept(late);
            Telling.pollUntil(() -> first.poll(after) && new HashSet<>(after).containsAll(late), "all 30 are read");
            Telling.check(early.stream().noneMatch(after::contains), "what was committed was read again");
        } finally {
            first.consumer.close();
        }
        int repeats = read.size() + after.size() - 120;
        return repeats == 0 ? "" : repeats + " repeated";
    }

    /** A static member closes and comes back: same partitions, and the other one notices nothing. */
    static String returnAsStatic(Function<String, Member> make) {
        List<String> read = new ArrayList<>();
        Member first = make.apply("instance-1");
        Member second = make.apply("instance-2");
        try {
            Telling.pollUntil(() -> bothHaveTheirs(first, second, read), "both have their partitions");
            Set<Integer> had = first.partitions();
            Set<Integer> others = second.partitions();
            int disturbances = second.assignments;
            first.consumer.close();
            Member again = make.apply("instance-1");
            try {
                Telling.pollUntil(() -> again.poll(read) && second.poll(read) && !again.partitions().isEmpty(),
                    "the member comes back");
                Telling.checkEqual(again.partitions(), had, "its partitions");
                Telling.checkEqual(second.partitions(), others, "the other one's partitions");
                Telling.checkEqual(second.assignments, disturbances, "rebalances of the other one");
            } finally {
                again.consumer.close();
            }
        } finally {
            first.consumer.close();
            second.consumer.close();
        }
        return "";
    }

    private static boolean bothHaveTheirs(Member first, Member second, List<String> read) {
        first.poll(read);
        second.poll(read);
        Set<Integer> all = new TreeSet<>(first.partitions());
        all.addAll(second.partitions());
        int apart = first.partitions().size() + second.partitions().size();
        return !first.partitions().isEmpty() && !second.partitions().isEmpty() && apart == 3 && all.equals(PARTITIONS);
    }

    private static List<String> values(String name, int count) {
        List<String> values = new ArrayList<>();
        for (int number = 0; number < count; number++) {
            values.add(String.format("%s-%03d", name, number));
        }
        return values;
    }
}
