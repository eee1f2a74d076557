package imdb.streaming;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.ToIntFunction;
import java.util.stream.IntStream;
import org.apache.spark.api.java.JavaRDD;
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
    private final Columns columns;
    private CollectionAccumulator<byte[]> noted;
    /** What is in the parts, by their numbers. */
    private final Map<Integer, Part> parts = new HashMap<>();

    private long fresh;
    private long duplicates;
    private long stale;
    private long malformed;
    private long newestMicros = Long.MIN_VALUE;
    private long toldBytes;

    Batch(Dataset<Row> messages, boolean asOnePart) {
        this.messages = messages;
        columns = new Columns(messages.schema());
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
        Columns columns = this.columns;
        return frame(rows.mapPartitionsWithIndex((part, in) -> new Noting(part, in, columns, noted), true));
    }

    /** Read all, in place of {@link #validEvents}, where no row is to be made of them. */
    public void read() {
        validEvents().queryExecution().toRdd().toJavaRDD().foreachPartition(in -> in.forEachRemaining(row -> {}));
    }

    /**
     * Ask the table about each valid event, in the order of partitions and offsets: which task has ended first
     * must not decide which of two is the new one, or a batch that is run again has other rows.
     */
    void decide(MovieTable movies) {
        List<Run> runs = new ArrayList<>();
        for (byte[] facts : noted.value()) {
            Part part = new Part(ByteBuffer.wrap(facts), movies);
            parts.put(part.number, part);
            malformed += part.malformed;
            toldBytes += facts.length;
            newestMicros = Math.max(newestMicros, part.newestMicros);
        }
        noted = null;
        parts.values().forEach(part -> runs.addAll(part.runs));
        runs.sort(Comparator.comparingInt(Run::partition).thenComparingLong(Run::offset));
        for (Run run : runs) {
            run.part.decide(run, movies);
        }
        List<Part> read = new ArrayList<>(parts.values());
        read.removeIf(part -> part.partition == Integer.MIN_VALUE);
        read.sort(Comparator.<Part>comparingInt(part -> part.partition).thenComparingLong(part -> part.offset));
        for (Part part : parts.values()) {
            part.place = read.indexOf(part);
            part.end();
            fresh += part.fresh();
            duplicates += part.duplicates;
            stale += part.stale;
        }
    }

    /** Rows of the new events alone. */
    public Dataset<Row> newEvents() {
        return chosen(true, part -> part.others, part -> part.valid);
    }

    /** Rows of messages that are no events. */
    public Dataset<Row> malformedMessages() {
        return chosen(false, part -> new int[0], part -> part.malformed);
    }

    /** Valid events, or malformed messages, but for some; see that as many are there as were before. */
    private Dataset<Row> chosen(boolean isValid, Function<Part, int[]> without, ToIntFunction<Part> due) {
        Map<Integer, int[]> numbers = new HashMap<>();
        Map<Integer, Integer> counts = new HashMap<>();
        for (Part part : parts.values()) {
            numbers.put(part.number, without.apply(part));
            counts.put(part.number, due.applyAsInt(part));
        }
        Columns columns = this.columns;
        return frame(
                rows.mapPartitionsWithIndex(
                        (part, in) -> new Chosen(in, columns, isValid, numbers.get(part), counts.get(part)), true));
    }

    private Dataset<Row> frame(JavaRDD<InternalRow> rows) {
        org.apache.spark.sql.classic.SparkSession spark =
                (org.apache.spark.sql.classic.SparkSession) messages.sparkSession();
        return spark.internalCreateDataFrame(rows.rdd(), messages.schema(), false);
    }

    /**
     * The parts that have new events, by their numbers here, and their places among all: the numbers are others
     * when the batch is run again, as Spark takes the partitions of the topic in any order.
     */
    public Map<Integer, Integer> freshParts() {
        return places(part -> part.fresh() > 0);
    }

    /** The parts that have messages which are no events, likewise. */
    public Map<Integer, Integer> malformedParts() {
        return places(part -> part.malformed > 0);
    }

    private Map<Integer, Integer> places(Predicate<Part> which) {
        Map<Integer, Integer> places = new HashMap<>();
        parts.values().stream().filter(which).forEach(part -> places.put(part.number, part.place));
        return places;
    }

    public long fresh() {
        return fresh;
    }

    public long duplicates() {
        return duplicates;
    }

    public long stale() {
        return stale;
    }

    public long malformed() {
        return malformed;
    }

    /** How much the executors have told the driver of the batch. */
    public long toldBytes() {
        return toldBytes;
    }

    /** The time of the newest message, in seconds since 1970; 0 of no message. */
    public double newest() {
        return newestMicros == Long.MIN_VALUE ? 0 : newestMicros / 1e6;
    }

    /** Passes some rows of a part on. */
    private abstract static class Passing implements Iterator<InternalRow> {
        private final Iterator<InternalRow> in;
        private InternalRow next;
        private boolean hasEnded;

        Passing(Iterator<InternalRow> in) {
            this.in = in;
        }

        abstract boolean isWanted(InternalRow row);

        /** Called once, behind the last row. */
        abstract void end();

        @Override
        public final boolean hasNext() {
            while (next == null && in.hasNext()) {
                InternalRow row = in.next();
                next = isWanted(row) ? row : null;
            }
            if (next == null && !hasEnded) {
                hasEnded = true;
                end();
            }
            return next != null;
        }

        @Override
        public final InternalRow next() {
            InternalRow row = next;
            next = null;
            return row;
        }
    }

    /** Passes the valid events on, and notes what the driver needs to know of the part. */
    private static final class Noting extends Passing {
        private final Columns columns;
        private final Facts facts;
        private final CollectionAccumulator<byte[]> noted;

        Noting(int part, Iterator<InternalRow> in, Columns columns, CollectionAccumulator<byte[]> noted) {
            super(in);
            this.columns = columns;
            this.noted = noted;
            facts = new Facts(part, columns);
        }

        @Override
        boolean isWanted(InternalRow row) {
            facts.add(row);
            return columns.isValid(row);
        }

        @Override
        void end() {
            // Spark drops what an attempt has noted that does not end well.
            noted.add(facts.bytes());
        }
    }

    /** Passes the valid events on without some of them, or the malformed messages; and counts them. */
    private static final class Chosen extends Passing {
        private final Columns columns;
        private final boolean isValid;
        private final int[] without;
        private final int due;
        private int seen;
        private int left;

        Chosen(Iterator<InternalRow> in, Columns columns, boolean isValid, int[] without, int due) {
            super(in);
            this.columns = columns;
            this.isValid = isValid;
            this.without = without;
            this.due = due;
        }

        @Override
        boolean isWanted(InternalRow row) {
            if (columns.isValid(row) != isValid) {
                return false;
            }
            int number = seen++;
            if (left < without.length && without[left] == number) {
                left++;
                return false;
            }
            return true;
        }

        @Override
        void end() {
            if (seen != due) {
                throw new IllegalStateException(
                        String.format(
                                "The topic gives %d messages where it gave %d a moment ago: some were deleted.",
                                seen, due));
            }
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
        /** Of the valid events, the numbers of those that are not new; sorted when all is decided. */
        private int[] others;

        private IntStream.Builder otherNumbers = IntStream.builder();
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

        /** Keep what is decided alone. */
        private void end() {
            others = otherNumbers.build().sorted().toArray();
            otherNumbers = null;
            facts = null;
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
                    otherNumbers.add(event);
                    stale += verdict == MovieTable.Verdict.STALE ? 1 : 0;
                    duplicates += verdict == MovieTable.Verdict.STALE ? 0 : 1;
                }
            }
        }
    }

    /** Events of a part that stand one behind the other in a partition of the topic. */
    private record Run(Part part, int partition, long offset, int first, int end) {}
}
