package imdb.streaming;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.LongStream;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.function.Function;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.storage.StorageLevel;
import org.apache.spark.util.CollectionAccumulator;

/**
 * A batch's rows, kept on the executors so that they are read and parsed once, and split three ways:
 * new events, known events and malformed messages.
 *
 * <p>The rows are kept in Spark's own form, many behind each other in one array ({@link Chunk}): a cache of
 * rows would be an object for each, and one by DataFrame.persist would turn them into columns and back. Both
 * cost more than they save.
 */
public final class Batch implements AutoCloseable {
    private final Dataset<Row> events;
    private final StructType schema;
    private final JavaRDD<Chunk> chunks;
    private final Columns columns;
    private final Map<Integer, long[]> known = new HashMap<>();
    private CollectionAccumulator<byte[]> noted;
    private long fresh;
    private long duplicates;
    private long malformed;
    private long newestMicros = Long.MIN_VALUE;

    private Batch(Dataset<Row> events) {
        this.events = events;
        schema = events.schema();
        columns = new Columns(schema);
        Columns columns = this.columns;
        chunks =
                events.queryExecution()
                        .toRdd()
                        .toJavaRDD()
                        .mapPartitions(rows -> new Chunk.Packer(columns, rows));
        chunks.persist(StorageLevel.MEMORY_AND_DISK());
    }

    static Batch keep(Dataset<Row> events) {
        return new Batch(events);
    }

    /**
     * Rows of all valid events, known or not. What is made of them brings the index what it needs to know, so
     * that {@link #decide} needs no pass of its own.
     */
    public Dataset<Row> validEvents() {
        CollectionAccumulator<byte[]> noted = new CollectionAccumulator<>();
        events.sparkSession().sparkContext().register(noted);
        this.noted = noted;
        Columns columns = this.columns;
        // Where chunks are read, not where they are made: a task that is run again may find them made. Spark
        // takes what the one task brings that ends well.
        return frame(
                chunks.flatMap(
                        chunk -> {
                            noted.add(chunk.facts());
                            return chunk.rows();
                        }),
                columns::isValid);
    }

    /**
     * Ask the index about each valid event, in the order of partitions and offsets: which task has ended first
     * must not decide which of two copies is the new one, or a batch that is run again has other rows.
     */
    void decide(Predicate<MovieIndex.Fact> isNew) {
        MovieIndex.Fact fact = new MovieIndex.Fact();
        Map<Integer, LongStream.Builder> offsets = new HashMap<>();
        for (ByteBuffer in : factsInOrder()) {
            malformed += in.getInt();
            newestMicros = Math.max(newestMicros, in.getLong());
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

    /** The chunks' facts; each chunk has consecutive rows of one partition. */
    private List<ByteBuffer> factsInOrder() {
        List<ByteBuffer> found = new ArrayList<>();
        for (byte[] facts : noted == null ? chunks.map(Chunk::facts).collect() : noted.value()) {
            found.add(ByteBuffer.wrap(facts));
        }
        found.sort(
                Comparator.<ByteBuffer>comparingInt(in -> in.getInt(0))
                        .thenComparingLong(in -> in.getLong(Integer.BYTES)));
        found.forEach(in -> in.position(Integer.BYTES + Long.BYTES));
        return found;
    }

    /** Rows of events that were not known before the batch; one row an event. */
    public Dataset<Row> newEvents() {
        Columns columns = this.columns;
        HashMap<Integer, long[]> known = new HashMap<>(this.known);
        return frame(chunks.flatMap(Chunk::rows), row -> columns.isValid(row) && !columns.isAt(row, known));
    }

    /** Rows of messages that are no events. */
    public Dataset<Row> malformedEvents() {
        Columns columns = this.columns;
        return frame(chunks.flatMap(Chunk::rows), row -> !columns.isValid(row));
    }

    private Dataset<Row> frame(JavaRDD<InternalRow> rows, Function<InternalRow, Boolean> wanted) {
        org.apache.spark.sql.classic.SparkSession spark =
                (org.apache.spark.sql.classic.SparkSession) events.sparkSession();
        return spark.internalCreateDataFrame(rows.filter(wanted).rdd(), schema, false);
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

    /** Let the executors drop the rows. */
    @Override
    public void close() {
        chunks.unpersist(false);
    }
}
