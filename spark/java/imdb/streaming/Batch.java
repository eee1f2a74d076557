package imdb.streaming;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Comparator;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.function.Function2;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.util.CollectionAccumulator;

/**
 * A batch's messages on the executors, split three ways: new events, other events and malformed messages.
 *
 * <p>They are read and parsed again for each thing that is made of them, from the same offsets in the same parts. Mostly
 * one is all there is: rows are written as if all events were new, and what the driver needs to know of them comes
 * with that ({@link Facts}).
 */
public final class Batch {
    private final Dataset<Row> messages;
    private final JavaRDD<InternalRow> rows;
    private final Facts.Columns columns;
    private CollectionAccumulator<byte[]> noted;
    /** What is in the parts, by their numbers. */
    private final Map<Integer, Part> parts = new HashMap<>();

    /** Take messages in columns of transformations.parse_events, as one part if they are few. */
    public Batch(Dataset<Row> messages, boolean asOnePart) {
        this.messages = messages;
        columns = new Facts.Columns(messages.schema());
        JavaRDD<InternalRow> read = messages.queryExecution().toRdd().toJavaRDD();
        rows = asOnePart ? read.coalesce(1) : read;
    }

    /** How many parts there are at most; each becomes a file of a table. */
    public int partsAtMost() {
        return rows.getNumPartitions();
    }

    /** Rows of all valid events, new or not. To be read once and wholly, before {@link JobState#decide}. */
    public Dataset<Row> validEvents() {
        CollectionAccumulator<byte[]> noted = new CollectionAccumulator<>();
        messages.sparkSession().sparkContext().register(noted);
        this.noted = noted;
        Facts.Columns columns = this.columns;
        return frame(
                (part, in) -> {
                    Facts facts = new Facts(part, columns);
                    Predicate<InternalRow> isWanted =
                            row -> {
                                facts.add(row);
                                return columns.isValid(row);
                            };
                    // Spark drops what an attempt has noted that does not end well.
                    return new Filtered(in, isWanted, () -> noted.add(facts.bytes()));
                });
    }

    /** Read all, in place of {@link #validEvents}, where no row is to be made of them. */
    public void read() {
        validEvents().queryExecution().toRdd().toJavaRDD().foreachPartition(in -> in.forEachRemaining(row -> {}));
    }

    /**
     * Ask the table about each valid event, in the order of partitions and offsets: which task has ended first
     * must not decide which of two is the new one, or a batch that is run again has other rows.
     *
     * @return how many messages are what, the time of the newest in microseconds since 1970, and how many bytes the
     *     executors have told
     */
    Map<String, Long> decide(MovieTable movies) {
        Map<String, Long> counts = new HashMap<>();
        List<Run> runs = new ArrayList<>();
        List<Part> read = new ArrayList<>();
        for (byte[] facts : noted.value()) {
            Part part = new Part(ByteBuffer.wrap(facts), movies);
            parts.put(part.number, part);
            counts.merge("told_bytes", (long) facts.length, Long::sum);
            if (part.partition != Integer.MIN_VALUE) {
                read.add(part);
                runs.addAll(part.runs);
                counts.merge("newest", part.newestMicros, Math::max);
            }
        }
        noted = null;
        runs.sort(Comparator.comparingInt(Run::partition).thenComparingLong(Run::offset));
        runs.forEach(run -> run.part.decide(run, movies));
        read.sort(Comparator.<Part>comparingInt(part -> part.partition).thenComparingLong(part -> part.offset));
        for (Part part : read) {
            part.place = read.indexOf(part);
            part.facts = null;
            counts.merge("fresh", (long) part.fresh(), Long::sum);
            counts.merge("duplicates", (long) part.duplicates, Long::sum);
            counts.merge("stale", (long) part.stale, Long::sum);
            counts.merge("malformed", (long) part.malformed, Long::sum);
        }
        return counts;
    }

    /** Rows of the new events alone, or of the messages that are no events; as many as there were before. */
    public Dataset<Row> chosen(boolean areEvents) {
        Map<Integer, BitSet> others = new HashMap<>();
        Map<Integer, Integer> counts = new HashMap<>();
        for (Part part : parts.values()) {
            others.put(part.number, areEvents ? part.others : new BitSet());
            counts.put(part.number, areEvents ? part.valid : part.malformed);
        }
        Facts.Columns columns = this.columns;
        return frame(
                (part, in) -> {
                    BitSet without = others.get(part);
                    int due = counts.get(part);
                    int[] seen = {0};
                    Predicate<InternalRow> isWanted =
                            row -> columns.isValid(row) == areEvents && !without.get(seen[0]++);
                    return new Filtered(in, isWanted, () -> checkCount(seen[0], due));
                });
    }

    private static void checkCount(int seen, int due) {
        if (seen != due) {
            throw new IllegalStateException(
                    String.format(
                            "The topic gives %d messages where it gave %d a moment ago: some were deleted.",
                            seen, due));
        }
    }

    private Dataset<Row> frame(Function2<Integer, Iterator<InternalRow>, Iterator<InternalRow>> change) {
        org.apache.spark.sql.classic.SparkSession spark =
                (org.apache.spark.sql.classic.SparkSession) messages.sparkSession();
        JavaRDD<InternalRow> changed = rows.mapPartitionsWithIndex(change, true);
        return spark.internalCreateDataFrame(changed.rdd(), messages.schema(), false);
    }

    /**
     * The parts that have such messages, by their numbers here, and their places among all: the numbers are others
     * when the batch is run again, as Spark takes the partitions of the topic in any order.
     */
    public Map<Integer, Integer> places(boolean ofEvents) {
        Map<Integer, Integer> places = new HashMap<>();
        for (Part part : parts.values()) {
            if ((ofEvents ? part.fresh() : part.malformed) > 0) {
                places.put(part.number, part.place);
            }
        }
        return places;
    }

    /** Passes some rows of a part on, and runs `end` once behind the last row. */
    private static final class Filtered implements Iterator<InternalRow> {
        private final Iterator<InternalRow> in;
        private final Predicate<InternalRow> isWanted;
        private Runnable end;
        private InternalRow next;

        Filtered(Iterator<InternalRow> in, Predicate<InternalRow> isWanted, Runnable end) {
            this.in = in;
            this.isWanted = isWanted;
            this.end = end;
        }

        @Override
        public boolean hasNext() {
            while (next == null && in.hasNext()) {
                InternalRow row = in.next();
                next = isWanted.test(row) ? row : null;
            }
            if (next == null) {
                end.run();
                end = () -> {};
            }
            return next != null;
        }

        @Override
        public InternalRow next() {
            InternalRow row = next;
            next = null;
            return row;
        }
    }

    /** What the driver knows of a part. */
    private static final class Part {
        private final int number;
        /** Where its first message is in the topic; there is none where the partition is the least number. */
        private final int partition;

        private final long offset;
        private final int malformed;
        private final long newestMicros;
        private final int[] lists;
        private final List<Run> runs = new ArrayList<>();
        private final int valid;
        /** Of the valid events, the numbers of those that are not new. */
        private final BitSet others = new BitSet();

        private ByteBuffer facts;
        private int place;
        private int duplicates;
        private int stale;

        /** Read what {@link Facts#bytes} gives. */
        Part(ByteBuffer in, MovieTable movies) {
            number = in.getInt();
            partition = in.getInt();
            offset = in.getLong();
            malformed = in.getInt();
            newestMicros = in.getLong();
            lists = new int[in.getInt()];
            for (int list = 0; list < lists.length; list++) {
                byte[] text = new byte[in.getInt()];
                in.get(text);
                lists[list] = movies.genreList(new String(text, StandardCharsets.UTF_8));
            }
            ByteBuffer runs = in.slice(in.position() + Integer.BYTES, in.getInt() * Facts.RUN_BYTES);
            in.position(in.position() + runs.capacity());
            valid = in.getInt();
            facts = in.slice();
            while (runs.hasRemaining()) {
                int partition = runs.getInt();
                long offset = runs.getLong();
                int first = runs.getInt();
                int end = runs.hasRemaining() ? runs.getInt(runs.position() + Facts.RUN_BYTES - Integer.BYTES) : valid;
                this.runs.add(new Run(this, partition, offset, first, end));
            }
        }

        private int fresh() {
            return valid - duplicates - stale;
        }

        /** The events of a run, one after the other. */
        private void decide(Run run, MovieTable movies) {
            for (int event = run.first; event < run.end; event++) {
                int at = event * Facts.BYTES;
                int list = facts.getInt(at + 3 * Long.BYTES);
                boolean isNumbered = list >= 0;
                MovieTable.Verdict verdict =
                        movies.take(
                                facts.getLong(at),
                                facts.getLong(at + Long.BYTES),
                                facts.getLong(at + 2 * Long.BYTES),
                                isNumbered,
                                lists[isNumbered ? list : ~list]);
                if (verdict != MovieTable.Verdict.NEW) {
                    others.set(event);
                    stale += verdict == MovieTable.Verdict.STALE ? 1 : 0;
                    duplicates += verdict == MovieTable.Verdict.STALE ? 0 : 1;
                }
            }
        }
    }

    /** Events of a part that stand one behind the other in a partition of the topic. */
    private record Run(Part part, int partition, long offset, int first, int end) {}
}
