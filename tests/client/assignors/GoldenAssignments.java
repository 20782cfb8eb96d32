import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Assignment;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.GroupSubscription;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;

/**
 * Plays random groups through the assignors of kafka-clients and prints what they decide, as JSON lines.
 * A line is the life of one group: members join, leave and change their minds, topics grow and vanish, some members
 * have slept through a generation. Its golden file is made by `python -m tests.tools.generate_assignments JARS`.
 */
public class GoldenAssignments {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final HexFormat HEX = HexFormat.of();
    private final Random random;
    private final ConsumerPartitionAssignor kind;
    private final boolean withRacks;
    private final boolean withInstances;
    private final boolean sameTopics;
    private final Map<String, Member> members = new TreeMap<>();
    private final Map<String, List<List<String>>> topics = new TreeMap<>();
    private int generation = 0;
    private int names = 0;

    static class Member {
        String id;
        String instance;
        String rack;
        List<String> topics;
        List<TopicPartition> owned = new ArrayList<>();
        int generation = -1;
        ConsumerPartitionAssignor assignor;
    }

    GoldenAssignments(ConsumerPartitionAssignor kind, long seed) {
        this.kind = kind;
        this.random = new Random(seed);
        this.withRacks = random.nextInt(100) < 40;
        this.withInstances = random.nextInt(100) < 30;
        this.sameTopics = random.nextInt(100) < 55;
    }

    public static void main(String[] arguments) throws Exception {
        int cases = Integer.parseInt(arguments[0]);
        for (int seed = 0; seed < cases; seed++)
            for (ConsumerPartitionAssignor kind : List.of(
                    new RangeAssignor(), new RoundRobinAssignor(), new StickyAssignor(), new CooperativeStickyAssignor()))
                try {
                    ObjectNode story = new GoldenAssignments(kind, 7919L * seed + 13).story();
                    System.out.println(JSON.writeValueAsString(story));
                } catch (NullPointerException passed) {
                    // kafka-clients 4.1 stumbles over members that claim what they had long ago, about once in 10,000
                    System.err.println(kind.name() + " with seed " + seed + ": " + passed.getMessage());
                }
    }

    private static ConsumerPartitionAssignor fresh(ConsumerPartitionAssignor kind) throws Exception {
        return kind.getClass().getDeclaredConstructor().newInstance();
    }

    private ObjectNode story() throws Exception {
        ObjectNode story = JSON.createObjectNode();
        story.put("assignor", kind.name());
        int topicCount = 1 + random.nextInt(4);
        for (int index = 0; index < topicCount; index++)
            grow("t" + index, random.nextInt(7));
        int memberCount = 1 + random.nextInt(6);
        for (int index = 0; index < memberCount; index++)
            join();
        ArrayNode steps = story.putArray("steps");
        for (int step = 0; step < 4; step++) {
            steps.add(assign());
            change();
        }
        return story;
    }

    private void grow(String topic, int count) {
        List<List<String>> partitions = topics.computeIfAbsent(topic, name -> new ArrayList<>());
        for (int index = 0; index < count; index++) {
            TreeSet<String> racks = new TreeSet<>();
            for (int replica = 0; replica < 2; replica++)
                racks.add("r" + random.nextInt(3));
            partitions.add(withRacks ? new ArrayList<>(racks) : List.of());
        }
    }

    private void join() throws Exception {
        Member member = new Member();
        member.id = "consumer-" + random.nextInt(3) + "-" + Integer.toHexString(random.nextInt()) + names++;
        if (withInstances && random.nextInt(4) > 0)
            member.instance = "i" + random.nextInt(20) + "-" + names;
        if (withRacks && random.nextInt(5) > 0)
            member.rack = "r" + random.nextInt(4);
        member.topics = chosenTopics();
        member.assignor = fresh(kind);
        members.put(member.id, member);
    }

    private List<String> chosenTopics() {
        List<String> all = new ArrayList<>(topics.keySet());
        if (sameTopics)
            return all;
        List<String> chosen = new ArrayList<>();
        for (String topic : all)
            if (random.nextInt(3) > 0)
                chosen.add(topic);
        if (chosen.isEmpty())
            chosen.add(all.get(random.nextInt(all.size())));
        if (random.nextInt(12) == 0)
            chosen.add("absent");
        return chosen;
    }

    /** Something happens to the group between two rebalances. */
    private void change() throws Exception {
        int what = random.nextInt(6);
        List<String> ids = new ArrayList<>(members.keySet());
        if (what == 0 && ids.size() > 1)
            members.remove(ids.get(random.nextInt(ids.size())));
        else if (what == 1)
            grow(new ArrayList<>(topics.keySet()).get(random.nextInt(topics.size())), 1 + random.nextInt(3));
        else if (what == 2 && topics.size() > 1 && !sameTopics)
            topics.remove(new ArrayList<>(topics.keySet()).get(random.nextInt(topics.size())));
        else if (what == 3 && !sameTopics)
            members.get(ids.get(random.nextInt(ids.size()))).topics = chosenTopics();
        else
            for (int count = 0; count < 1 + random.nextInt(3); count++)
                join();
        if (random.nextInt(3) == 0) { // a member that has slept claims what others have
            Member sleeper = members.get(new ArrayList<>(members.keySet()).get(random.nextInt(members.size())));
            Member other = members.get(new ArrayList<>(members.keySet()).get(random.nextInt(members.size())));
            sleeper.owned = new ArrayList<>(other.owned);
            // Of topics that it wants: kafka-clients 4.1 may give it what it claims although it does not want it.
            sleeper.owned.removeIf(place -> !sleeper.topics.contains(place.topic()));
            if (random.nextBoolean())
                sleeper.generation = Math.max(-1, sleeper.generation - 1);
            tell(sleeper);
        }
    }

    private void tell(Member member) {
        member.assignor.onAssignment(
            new Assignment(member.owned),
            new ConsumerGroupMetadata("group", member.generation, member.id, Optional.ofNullable(member.instance)));
    }

    private ObjectNode assign() throws Exception {
        ObjectNode step = JSON.createObjectNode();
        Map<String, Node> nodes = new HashMap<>();
        List<PartitionInfo> infos = new ArrayList<>();
        ObjectNode shownTopics = step.putObject("topics");
        for (Map.Entry<String, List<List<String>>> topic : topics.entrySet()) {
            ArrayNode shown = shownTopics.putArray(topic.getKey());
            int partition = 0;
            for (List<String> racks : topic.getValue()) {
                ArrayNode shownRacks = shown.addArray();
                List<Node> replicas = new ArrayList<>();
                for (String rack : racks) {
                    shownRacks.add(rack);
                    replicas.add(nodes.computeIfAbsent(rack, name -> new Node(nodes.size(), "host", 1, name)));
                }
                Node[] array = replicas.toArray(new Node[0]);
                infos.add(new PartitionInfo(topic.getKey(), partition++, Node.noNode(), array, array));
            }
        }
        ArrayNode shownMembers = step.putArray("members");
        List<Member> order = new ArrayList<>(members.values());
        Collections.shuffle(order, random);
        Map<String, Subscription> subscriptions = new HashMap<>();
        for (Member member : order) {
            ByteBuffer userData = member.assignor.subscriptionUserData(new TreeSet<>(member.topics));
            Subscription subscription = new Subscription(
                member.topics, userData, member.owned, member.generation, Optional.ofNullable(member.rack));
            ByteBuffer bytes = ConsumerProtocol.serializeSubscription(subscription);
            ObjectNode shown = shownMembers.addObject();
            shown.put("id", member.id).put("instance", member.instance).put("rack", member.rack);
            shown.set("topics", JSON.valueToTree(member.topics));
            shown.set("owned", places(member.owned));
            shown.put("generation", member.generation).put("bytes", hex(bytes));
            Subscription read = ConsumerProtocol.deserializeSubscription(bytes);
            if (member.instance != null)
                read.setGroupInstanceId(Optional.of(member.instance));
            subscriptions.put(member.id, read);
        }
        Cluster cluster = new Cluster("cluster", nodes.values(), infos, Collections.emptySet(), Collections.emptySet());
        Map<String, Assignment> assigned =
            fresh(kind).assign(cluster, new GroupSubscription(subscriptions)).groupAssignment();
        ObjectNode shownAssignment = step.putObject("assignment");
        ObjectNode shownBytes = step.putObject("assignment_bytes");
        generation++;
        for (Member member : members.values()) {
            List<TopicPartition> partitions = assigned.get(member.id).partitions();
            shownAssignment.set(member.id, places(partitions));
            shownBytes.put(member.id, hex(ConsumerProtocol.serializeAssignment(assigned.get(member.id))));
            member.owned = new ArrayList<>(partitions);
            member.generation = generation;
            tell(member);
        }
        return step;
    }

    private static String hex(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return HEX.formatHex(bytes);
    }

    private static ArrayNode places(List<TopicPartition> partitions) {
        ArrayNode shown = JSON.createArrayNode();
        for (TopicPartition place : partitions)
            shown.add(place.topic() + "-" + place.partition());
        return shown;
    }
}
