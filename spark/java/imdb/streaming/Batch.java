package imdb.streaming;

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.Serializable;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.LongStream;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.util.ArrayData;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.storage.StorageLevel;

/**
 * A batch's rows, kept on the executors so that they are read and parsed once, and split three ways:
 * new events, known events and malformed messages.
 *
 * <p>The rows stay Spark's own (InternalRow): a cache by DataFrame.persist would turn them into columns
 * and back, which costs more than it saves.
 */
public final class Batch implements AutoCloseable {
    private final Dataset<Row> events;
    private final StructType schema;
    private final JavaRDD<InternalRow> rows;
    private final Columns columns;
    private final Map<Integer, long[]> known = new HashMap<>();
    private long fresh;
    private long duplicates;
    private long malformed;
    private long newestMicros = Long.MIN_VALUE;
    private long leastNewestMicros = Long.MAX_VALUE;

    private Batch(Dataset<Row> events) {
        this.events = events;
        schema = events.schema();
        columns = new Columns(schema);
        rows = events.queryExecution().toRdd().toJavaRDD().map(InternalRow::copy);
        rows.persist(StorageLevel.MEMORY_AND_DISK());
    }

    static Batch keep(Dataset<Row> events) {
        return new Batch(events);
    }

    /** Bring what the index needs to know to the driver, and ask it about each valid event. */
    void decide(Predicate<MovieIndex.Fact> isNew) {
        MovieIndex.Fact fact = new MovieIndex.Fact();
        Map<Integer, LongStream.Builder> offsets = new HashMap<>();
        Columns columns = this.columns;
        for (byte[] packed : rows.mapPartitions(columns::pack).collect()) {
            ByteBuffer in = ByteBuffer.wrap(packed);
            malformed += in.getInt();
            long newest = in.getLong();
            if (newest != Long.MIN_VALUE) {
                newestMicros = Math.max(newestMicros, newest);
                leastNewestMicros = Math.min(leastNewestMicros, newest);
            }
            while (in.hasRemaining()) {
                fact.readFrom(in);
                if (isNew.test(fact)) {
                    fresh++;
                } else {
                    duplicates++;
                    offsets.computeIfAbsent(fact.partition, key -> LongStream.builder()).add(fact.offset);
                }
            }
        }
        offsets.forEach((partition, found) -> known.put(partition, found.build().sorted().toArray()));
    }

    /** Rows of events that were not known before the batch; one row an event. */
    public Dataset<Row> newEvents() {
        Columns columns = this.columns;
        HashMap<Integer, long[]> known = new HashMap<>(this.known);
        return frame(rows.filter(row -> columns.isValid(row) && !columns.isAt(row, known)));
    }

    /** Rows of messages that are no events. */
    public Dataset<Row> malformedEvents() {
        Columns columns = this.columns;
        return frame(rows.filter(row -> !columns.isValid(row)));
    }

    private Dataset<Row> frame(JavaRDD<InternalRow> selected) {
        org.apache.spark.sql.classic.SparkSession spark =
                (org.apache.spark.sql.classic.SparkSession) events.sparkSession();
        return spark.internalCreateDataFrame(selected.rdd(), schema, false);
    }

    public long fresh() {
        return fresh;
    }

    public long duplicates() {
        return duplicates;
    }

    public long malformed() {
        return malformed;
    }

    /** The time of the newest message, in seconds since 1970; 0 of no message. */
    public double newest() {
        return newestMicros == Long.MIN_VALUE ? 0 : newestMicros / 1e6;
    }

    /** The newest message's time in the partition where it is oldest; 0 of no message. */
    long leastNewestMicros() {
        return leastNewestMicros == Long.MAX_VALUE ? 0 : leastNewestMicros;
    }

    /** Let the executors drop the rows. */
    @Override
    public void close() {
        rows.unpersist(false);
    }

    /** Where the columns that matter here are. */
    private static final class Columns implements Serializable {
        private static final long serialVersionUID = 1;
        private final int eventId;
        private final int tconst;
        private final int timestamp;
        private final int partition;
        private final int offset;
        private final int genres;
        private final int reason;

        Columns(StructType schema) {
            eventId = schema.fieldIndex("event_id");
            tconst = schema.fieldIndex("tconst");
            timestamp = schema.fieldIndex("kafka_timestamp");
            partition = schema.fieldIndex("partition");
            offset = schema.fieldIndex("offset");
            genres = schema.fieldIndex("genres");
            reason = schema.fieldIndex("reason");
        }

        boolean isValid(InternalRow row) {
            return row.isNullAt(reason);
        }

        boolean isAt(InternalRow row, Map<Integer, long[]> offsets) {
            long[] found = offsets.get(row.getInt(partition));
            return found != null && Arrays.binarySearch(found, row.getLong(offset)) >= 0;
        }

        /** All facts of a partition of rows: malformed rows and newest time, then {@link MovieIndex.Fact}s. */
        Iterator<byte[]> pack(Iterator<InternalRow> rows) throws IOException, NoSuchAlgorithmException {
            MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
            ByteArrayOutputStream facts = new ByteArrayOutputStream(1 << 16);
            DataOutputStream out = new DataOutputStream(facts);
            int malformed = 0;
            long newest = Long.MIN_VALUE;
            while (rows.hasNext()) {
                InternalRow row = rows.next();
                newest = Math.max(newest, row.getLong(timestamp));
                if (!isValid(row)) {
                    malformed++;
                    continue;
                }
                out.write(sha256.digest(row.getUTF8String(eventId).getBytes()), 0, 16);
                out.write(sha256.digest(row.getUTF8String(tconst).getBytes()), 0, 16);
                out.writeLong(row.getLong(timestamp));
                out.writeInt(row.getInt(partition));
                out.writeLong(row.getLong(offset));
                byte[] text = MovieIndex.joined(strings(row.getArray(genres))).getBytes(StandardCharsets.UTF_8);
                out.writeInt(text.length);
                out.write(text);
            }
            ByteBuffer packed = ByteBuffer.allocate(Integer.BYTES + Long.BYTES + facts.size());
            packed.putInt(malformed).putLong(newest).put(facts.toByteArray());
            return List.of(packed.array()).iterator();
        }

        private static List<String> strings(ArrayData array) {
            List<String> strings = new ArrayList<>(array.numElements());
            for (int item = 0; item < array.numElements(); item++) {
                strings.add(array.getUTF8String(item).toString());
            }
            return strings;
        }
    }
}
