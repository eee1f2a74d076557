package imdb.streaming;

import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.ListOffsetsResult;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicAuthorizationException;

/** What the brokers say of a topic: its id, where each partition begins and ends, and its settings. */
public final class TopicState {
    private final String id;
    private final Map<Integer, Long> beginnings;
    private final Map<Integer, Long> ends;
    private final Map<String, String> settings;

    private TopicState(
            String id, Map<Integer, Long> beginnings, Map<Integer, Long> ends, Map<String, String> settings) {
        this.id = id;
        this.beginnings = beginnings;
        this.ends = ends;
        this.settings = settings;
    }

    /**
     * Ask the brokers.
     *
     * @param options how to log in, as settings of Kafka's clients
     * @param isolationLevel up to where the topic goes: with read_committed not beyond an open transaction
     * @throws ExecutionException the brokers' answer is an error, such as that they have no such topic, or that it
     *     may not be read
     * @throws TimeoutException they have not answered in time
     */
    public static TopicState read(
            String bootstrapServers,
            String topic,
            int timeoutMilliseconds,
            Map<String, String> options,
            String isolationLevel)
            throws ExecutionException, InterruptedException, TimeoutException {
        ListOffsetsOptions isolated =
                new ListOffsetsOptions(IsolationLevel.valueOf(isolationLevel.toUpperCase(Locale.ROOT)));
        Properties properties = new Properties();
        properties.putAll(options);
        properties.put(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrapServers);
        properties.put(AdminClientConfig.DEFAULT_API_TIMEOUT_MS_CONFIG, timeoutMilliseconds);
        properties.put(AdminClientConfig.REQUEST_TIMEOUT_MS_CONFIG, Math.min(timeoutMilliseconds, 10_000));
        try (Admin admin = Admin.create(properties)) {
            TopicDescription description =
                    admin.describeTopics(
                                    List.of(topic), new DescribeTopicsOptions().includeAuthorizedOperations(true))
                            .allTopicNames()
                            .get(timeoutMilliseconds, TimeUnit.MILLISECONDS)
                            .get(topic);
            // A user that may only describe it would find out when the query runs. Brokers before 2.3 do not tell.
            if (description.authorizedOperations() != null
                    && !description.authorizedOperations().contains(AclOperation.READ)) {
                throw new ExecutionException(new TopicAuthorizationException(topic));
            }
            return new TopicState(
                    description.topicId().toString(),
                    offsets(admin, description, OffsetSpec.earliest(), isolated, timeoutMilliseconds),
                    offsets(admin, description, OffsetSpec.latest(), isolated, timeoutMilliseconds),
                    settings(admin, topic, timeoutMilliseconds));
        }
    }

    /** The topic's settings; none where the brokers do not tell them, as they are for messages alone. */
    private static Map<String, String> settings(Admin admin, String topic, int timeoutMilliseconds)
            throws InterruptedException {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        Map<String, String> settings = new TreeMap<>();
        try {
            admin.describeConfigs(List.of(resource))
                    .all()
                    .get(timeoutMilliseconds, TimeUnit.MILLISECONDS)
                    .get(resource)
                    .entries()
                    .forEach(found -> settings.put(found.name(), found.value()));
        } catch (ExecutionException | TimeoutException notTold) {
            return Map.of();
        }
        return settings;
    }

    private static Map<Integer, Long> offsets(
            Admin admin,
            TopicDescription description,
            OffsetSpec which,
            ListOffsetsOptions options,
            int timeoutMilliseconds)
            throws ExecutionException, InterruptedException, TimeoutException {
        Map<TopicPartition, OffsetSpec> asked = new HashMap<>();
        description
                .partitions()
                .forEach(found -> asked.put(new TopicPartition(description.name(), found.partition()), which));
        Map<Integer, Long> offsets = new TreeMap<>();
        for (Map.Entry<TopicPartition, ListOffsetsResult.ListOffsetsResultInfo> found :
                admin.listOffsets(asked, options).all().get(timeoutMilliseconds, TimeUnit.MILLISECONDS).entrySet()) {
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

    /** The topic's settings by their names; empty where the brokers do not tell them. */
    public Map<String, String> settings() {
        return settings;
    }

    /** The offset behind the last message of each partition. */
    public Map<Integer, Long> ends() {
        return ends;
    }
}
