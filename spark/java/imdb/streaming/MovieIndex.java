package imdb.streaming;

import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * What the job remembers over its batches: which events it has seen, and the genres of each movie.
 *
 * <p>Event ids and tconsts are kept as digests of 128 bits, an id with the day it was last seen on, a
 * movie with the time of its latest event and its genres. Ids that were not seen for the retention are
 * known no more.
 *
 * <p>Days are counted from batch to batch: where the clock has gone to a later date, one day has passed, however
 * far it went; where it was set back, none. So a clock that is years ahead for once, or behind, costs
 * the memory a day at most, and a job that was away for weeks forgets nothing of what it has not seen since.
 *
 * <p>Whatever a batch changes is written to that batch's delta file ({@link IndexFiles}).
 */
final class MovieIndex {
    private static final long MILLIS_A_DAY = 86_400_000;
    /** As many as MAX_OFFSETS_PER_TRIGGER has by default. */
    private static final int EVENTS_A_BATCH = 200_000;

    private static final String UNKNOWN_GENRE = "(unknown)";

    private final int retentionDays;
    private final HeapBudget budget = new HeapBudget();
    private final DigestTable ids = new DigestTable(false, budget);
    private final DigestTable movies = new DigestTable(true, budget);
    /** The lists of genres there are, each as one text; a movie has its list's number. */
    private final List<String> genreLists = new ArrayList<>();

    private final Map<String, Integer> genreListNumbers = new HashMap<>();
    private final Map<String, Long> counts = new TreeMap<>();

    /** The latest day on which an id was seen. Read from the ids themselves, so that no file has it. */
    private int latestDay = Integer.MIN_VALUE;
    /** The batch's day and time. */
    private int day;

    private long now;

    MovieIndex(int retentionDays) {
        this.retentionDays = retentionDays;
    }

    int ids() {
        return ids.size();
    }

    int movies() {
        return movies.size();
    }

    long bytes() {
        return ids.bytes() + movies.bytes();
    }

    /** Movies by genre; a genre that no movie has any more is left out. */
    Map<String, Long> counts() {
        return counts;
    }

    /** Take the day and the time of a batch; see {@link JobState#decide}. */
    void beginBatch(long plannedAt, long plannedBefore) {
        int date = (int) Math.floorDiv(plannedAt, MILLIS_A_DAY);
        boolean isLater = date > Math.floorDiv(plannedBefore, MILLIS_A_DAY);
        day = latestDay == Integer.MIN_VALUE ? date : latestDay + (isLater ? 1 : 0);
        now = plannedAt * 1000;
    }

    /** Take in an event, and tell whether it is a new one. What changes is added to the delta. */
    boolean add(Fact fact, Delta delta) {
        int slot = ids.find(fact.idHigh, fact.idLow);
        boolean isNew = slot < 0 || day - ids.intAt(slot) > retentionDays;
        if (isNew || day > ids.intAt(slot)) {
            putId(fact.idHigh, fact.idLow, day);
            delta.id(fact.idHigh, fact.idLow, day);
        }
        if (isNew) {
            update(fact, delta);
        }
        return isNew;
    }

    private void putId(long high, long low, int seen) {
        ids.put(high, low, seen, 0);
        latestDay = Math.max(latestDay, seen);
    }

    /**
     * The latest event decides; of two at the same time the one that came later.
     *
     * <p>No event is later than its batch: one that says so counts as of the batch's time, and gives way to
     * those after it. A time ahead of the batch's, from a clock that has been set back since, gives way too.
     */
    private void update(Fact fact, Delta delta) {
        long at = Math.min(fact.at, now);
        int slot = movies.find(fact.movieHigh, fact.movieLow);
        if (slot >= 0 && at < movies.longAt(slot) && movies.longAt(slot) <= now) {
            return;
        }
        int number = genreList(fact.genres);
        if (slot < 0) {
            count(number, 1);
        } else if (movies.intAt(slot) != number) {
            count(movies.intAt(slot), -1);
            count(number, 1);
        }
        movies.put(fact.movieHigh, fact.movieLow, number, at);
        delta.movie(fact.movieHigh, fact.movieLow, at, fact.genres);
    }

    private int genreList(String genres) {
        return genreListNumbers.computeIfAbsent(
                genres,
                text -> {
                    genreLists.add(text);
                    return genreLists.size() - 1;
                });
    }

    private void count(int genreList, int change) {
        for (String genre : distinct(genreLists.get(genreList))) {
            counts.merge(genre, (long) change, (before, added) -> before + added == 0 ? null : before + added);
        }
    }

    /** A movie counts once for each of its genres, one without any for `(unknown)`. */
    private static Set<String> distinct(String genres) {
        Set<String> names = new LinkedHashSet<>();
        for (int at = 0; at < genres.length(); ) {
            int colon = genres.indexOf(':', at);
            int end = colon + 1 + Integer.parseInt(genres.substring(at, colon));
            String genre = genres.substring(colon + 1, end);
            if (!genre.chars().allMatch(character -> character == ' ')) {
                names.add(genre);
            }
            at = end;
        }
        return names.isEmpty() ? Set.of(UNKNOWN_GENRE) : names;
    }

    /** Genres as one text, each behind its length, as any character may be in one. */
    static String joined(Iterable<String> genres) {
        StringBuilder text = new StringBuilder();
        for (String genre : genres) {
            text.append(genre.length()).append(':').append(genre);
        }
        return text.toString();
    }

    /** See that the heap has room for a batch: else the job would end in it, after each start again. */
    void checkRoom() {
        ids.checkRoomFor(EVENTS_A_BATCH);
        movies.checkRoomFor(EVENTS_A_BATCH);
    }

    /** Forget ids that are known no more; makes room alone. */
    void forget() {
        if (latestDay != Integer.MIN_VALUE) {
            ids.forgetBelow(latestDay - retentionDays);
        }
    }

    /** Write all of it, as one delta that leads from nothing to here. */
    void writeTo(DataOutputStream out) throws IOException {
        out.writeInt(ids.size());
        for (int slot : ids.slots()) {
            out.writeLong(ids.highAt(slot));
            out.writeLong(ids.lowAt(slot));
            out.writeInt(ids.intAt(slot));
        }
        out.writeInt(movies.size());
        for (int slot : movies.slots()) {
            out.writeLong(movies.highAt(slot));
            out.writeLong(movies.lowAt(slot));
            out.writeLong(movies.longAt(slot));
            writeText(out, genreLists.get(movies.intAt(slot)));
        }
    }

    /** Apply what {@link #writeTo} or {@link Delta#writeTo} wrote. */
    void readFrom(DataInputStream in) throws IOException {
        int idsToCome = in.readInt();
        ids.reserve(idsToCome);
        for (int left = idsToCome; left > 0; left--) {
            putId(in.readLong(), in.readLong(), in.readInt());
        }
        int moviesToCome = in.readInt();
        movies.reserve(moviesToCome);
        for (int left = moviesToCome; left > 0; left--) {
            long high = in.readLong();
            long low = in.readLong();
            long at = in.readLong();
            int number = genreList(readText(in));
            int slot = movies.find(high, low);
            if (slot >= 0) {
                count(movies.intAt(slot), -1);
            }
            count(number, 1);
            movies.put(high, low, number, at);
        }
    }

    private static void writeText(DataOutputStream out, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        out.writeInt(bytes.length);
        out.write(bytes);
    }

    private static String readText(DataInputStream in) throws IOException {
        return new String(in.readNBytes(in.readInt()), StandardCharsets.UTF_8);
    }

    /** What the index needs to know of an event. */
    static final class Fact {
        long idHigh;
        long idLow;
        long movieHigh;
        long movieLow;
        long at;
        int partition;
        long offset;
        String genres;

        /** Read the next one; see {@link Batch} for the layout. */
        void readFrom(ByteBuffer in) {
            idHigh = in.getLong();
            idLow = in.getLong();
            movieHigh = in.getLong();
            movieLow = in.getLong();
            at = in.getLong();
            partition = in.getInt();
            offset = in.getLong();
            byte[] text = new byte[in.getInt()];
            in.get(text);
            genres = new String(text, StandardCharsets.UTF_8);
        }
    }

    /** What one batch changes. */
    static final class Delta {
        private final ByteArrayOutputStream idBytes = new ByteArrayOutputStream();
        private final ByteArrayOutputStream movieBytes = new ByteArrayOutputStream();
        private final DataOutputStream idOut = new DataOutputStream(idBytes);
        private final DataOutputStream movieOut = new DataOutputStream(movieBytes);
        private int ids;
        private int movies;

        int size() {
            return ids + movies;
        }

        private void id(long high, long low, int day) {
            try {
                idOut.writeLong(high);
                idOut.writeLong(low);
                idOut.writeInt(day);
            } catch (IOException error) {
                throw new IllegalStateException("Memory does not fail so.", error);
            }
            ids++;
        }

        private void movie(long high, long low, long at, String genres) {
            try {
                movieOut.writeLong(high);
                movieOut.writeLong(low);
                movieOut.writeLong(at);
                writeText(movieOut, genres);
            } catch (IOException error) {
                throw new IllegalStateException("Memory does not fail so.", error);
            }
            movies++;
        }

        void writeTo(DataOutputStream out) throws IOException {
            out.writeInt(ids);
            idBytes.writeTo(out);
            out.writeInt(movies);
            movieBytes.writeTo(out);
        }
    }
}
