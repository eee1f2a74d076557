package imdb.streaming;

import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.ListOffsetsResult;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.TopicPartition;
import java.util.List;

/** What the brokers say of a topic: its id, and where each partition begins and ends. */
public final class TopicState {
    private final String id;
    private final Map<Integer, Long> beginnings;
    private final Map<Integer, Long> ends;

    private TopicState(String id, Map<Integer, Long> beginnings, Map<Integer, Long> ends) {
        this.id = id;
        this.beginnings = beginnings;
        this.ends = ends;
    }

    /**
     * Ask the brokers.
     *
     * @throws ExecutionException the brokers' answer is an error, such as that they have no such topic
     * @throws TimeoutException they have not answered in time
     */
    public static TopicState read(String bootstrapServers, String topic, int timeoutMilliseconds)
            throws ExecutionException, InterruptedException, TimeoutException {
        Properties properties = new Properties();
        properties.put(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrapServers);
        properties.put(AdminClientConfig.DEFAULT_API_TIMEOUT_MS_CONFIG, timeoutMilliseconds);
        properties.put(AdminClientConfig.REQUEST_TIMEOUT_MS_CONFIG, Math.min(timeoutMilliseconds, 10_000));
        try (Admin admin = Admin.create(properties)) {
            TopicDescription description =
                    admin.describeTopics(List.of(topic))
                            .allTopicNames()
                            .get(timeoutMilliseconds, TimeUnit.MILLISECONDS)
                            .get(topic);
            return new TopicState(
                    description.topicId().toString(),
                    offsets(admin, description, OffsetSpec.earliest(), timeoutMilliseconds),
                    offsets(admin, description, OffsetSpec.latest(), timeoutMilliseconds));
        }
    }

    private static Map<Integer, Long> offsets(
            Admin admin, TopicDescription description, OffsetSpec which, int timeoutMilliseconds)
            throws ExecutionException, InterruptedException, TimeoutException {
        Map<TopicPartition, OffsetSpec> asked = new HashMap<>();
        description
                .partitions()
                .forEach(found -> asked.put(new TopicPartition(description.name(), found.partition()), which));
        Map<Integer, Long> offsets = new TreeMap<>();
        for (Map.Entry<TopicPartition, ListOffsetsResult.ListOffsetsResultInfo> found :
                admin.listOffsets(asked).all().get(timeoutMilliseconds, TimeUnit.MILLISECONDS).entrySet()) {
            offsets.put(found.getKey().partition(), found.getValue().offset());
        }
        return offsets;
    }

    /** The id that the brokers gave the topic when it was made: another one is another topic. */
    public String id() {
        return id;
    }

    /** The first offset of each partition that is still there. */
    public Map<Integer, Long> beginnings() {
        return beginnings;
    }

    /** The offset behind the last message of each partition. */
    public Map<Integer, Long> ends() {
        return ends;
    }
}
