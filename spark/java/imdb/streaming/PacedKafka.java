package imdb.streaming;

import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SQLContext;
import org.apache.spark.sql.connector.read.streaming.Offset;
import org.apache.spark.sql.connector.read.streaming.ReadLimit;
import org.apache.spark.sql.connector.read.streaming.ReadMaxRows;
import org.apache.spark.sql.connector.read.streaming.SupportsTriggerAvailableNow;
import org.apache.spark.sql.execution.streaming.Source;
import org.apache.spark.sql.kafka010.KafkaSourceProvider;
import org.apache.spark.sql.sources.StreamSourceProvider;
import org.apache.spark.sql.types.StructType;
import scala.Option;
import scala.Tuple2;
import scala.collection.immutable.Map;

/**
 * Spark's Kafka source, which begins a batch when the trigger interval is over since the last one began, or a full
 * batch waits. Its options are those of the format `kafka`, and triggerIntervalMs.
 *
 * <p>The interval is counted by a clock that nobody can set. Spark's own maxTriggerDelay goes by the host's: set back,
 * that lets no batch begin until it has caught up.
 *
 * <p>This is the older of Spark's two Kafka readers. The newer one dies with a NullPointerException after a batch that
 * is run again at start (SPARK-55271, in 4.1.1): every crash would cost a second one.
 */
public final class PacedKafka implements StreamSourceProvider {
    private static final AtomicLong POLLS = new AtomicLong();

    private final KafkaSourceProvider kafka = new KafkaSourceProvider();

    /** How often queries have asked for new messages: grows while one waits, and not while it hangs. */
    public static long polls() {
        return POLLS.get();
    }

    @Override
    public Tuple2<String, StructType> sourceSchema(
            SQLContext context, Option<StructType> schema, String name, Map<String, String> options) {
        return kafka.sourceSchema(context, schema, name, options);
    }

    @Override
    public Source createSource(
            SQLContext context, String folder, Option<StructType> schema, String name, Map<String, String> options) {
        long interval = Long.parseLong(options.apply("triggerIntervalMs"));
        return new Paced(kafka.createSource(context, folder, schema, name, options), interval);
    }

    private static final class Paced implements Source, SupportsTriggerAvailableNow {
        private final Source kafka;
        private final SupportsTriggerAvailableNow offsets;
        private final long interval;
        private long begun;

        Paced(Source kafka, long intervalMs) {
            this.kafka = kafka;
            offsets = (SupportsTriggerAvailableNow) kafka;
            interval = TimeUnit.MILLISECONDS.toNanos(intervalMs);
            begun = System.nanoTime() - interval;
        }

        @Override
        public Offset latestOffset(Offset start, ReadLimit limit) {
            POLLS.incrementAndGet();
            long now = System.nanoTime();
            Offset end = offsets.latestOffset(start, now - begun >= interval ? limit : onlyFull(limit));
            if (!Objects.equals(end, start)) {
                begun = now;
            }
            return end;
        }

        /** As much as the limit, or nothing; however long it takes. */
        private static ReadLimit onlyFull(ReadLimit limit) {
            long rows = ((ReadMaxRows) limit).maxRows();
            return ReadLimit.compositeLimit(new ReadLimit[] {ReadLimit.minRows(rows, Long.MAX_VALUE), limit});
        }

        @Override
        public ReadLimit getDefaultReadLimit() {
            return offsets.getDefaultReadLimit();
        }

        @Override
        public Offset reportLatestOffset() {
            return offsets.reportLatestOffset();
        }

        @Override
        public void prepareForTriggerAvailableNow() {
            offsets.prepareForTriggerAvailableNow();
        }

        @Override
        public StructType schema() {
            return kafka.schema();
        }

        @Override
        public Option<org.apache.spark.sql.execution.streaming.Offset> getOffset() {
            return kafka.getOffset();
        }

        @Override
        public Dataset<Row> getBatch(
                Option<org.apache.spark.sql.execution.streaming.Offset> start,
                org.apache.spark.sql.execution.streaming.Offset end) {
            return kafka.getBatch(start, end);
        }

        @Override
        public void stop() {
            kafka.stop();
        }

        @Override
        public String toString() {
            return kafka.toString();
        }
    }
}
