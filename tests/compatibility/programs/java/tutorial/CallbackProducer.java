import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Sends without waiting and is told by a callback. BOOTSTRAP TOPIC COUNT */
public final class CallbackProducer {
    public static void main(String[] arguments) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[0]);
        properties.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        properties.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        properties.put("client.id", "callback.demo");
        properties.put("acks", "-1");
        properties.put("compression.type", "snappy");
        KafkaProducer<String, String> producer = new KafkaProducer<>(properties);
        for (int number = 0; number < Integer.parseInt(arguments[2]); number++) {
            String value = "message-" + number;
            producer.send(new ProducerRecord<>(arguments[1], "key-" + number % 7, value), (sent, error) -> {
                if (error != null) {
                    System.out.println("error " + error);
                } else {
                    System.out.println("record " + sent.topic() + " " + sent.partition() + " " + sent.offset() + " " + value);
                }
            });
        }
        producer.close();
    }
}
