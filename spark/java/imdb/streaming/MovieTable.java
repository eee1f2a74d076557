package imdb.streaming;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.stream.IntStream;

/**
 * What the job knows of each movie: its last version, a digest of that version's content, and its genres.
 *
 * <p>A hash table with open addressing over plain arrays: 28 bytes a slot, three quarters of the slots used at most. A
 * table that is full is doubled: meanwhile it takes half as much again as after it. A number of the table's own
 * scatters the keys, so that those which come in the order of another table's slots, as from a snapshot, do not
 * crowd in a part of this one.
 */
final class MovieTable {
    /** What an event is. */
    enum Verdict {
        /** A later version of its movie, with other content. */
        NEW,
        /** The version that the movie has, or a later one with the same content. */
        DUPLICATE,
        /** An earlier version than the movie has. */
        STALE
    }

    private static final int SLOT_BYTES = 3 * Long.BYTES + Integer.BYTES;
    private static final int FEWEST_SLOTS = 1 << 10;

    private final long scatter = new SplittableRandom().nextLong() | 1;
    private final GenreLists genres = new GenreLists();
    private int shift;
    /** 0 marks a free slot: no movie has that key. */
    private long[] keys;

    private long[] versions;
    private long[] contents;
    private int[] lists;
    private int size;
    /** The movies that have changed since the last {@link #writeChanges}, some of them twice. */
    private long[] changed = new long[FEWEST_SLOTS];

    private int changes;

    MovieTable() {
        allocate(FEWEST_SLOTS);
    }

    private void allocate(int slots) {
        shift = Long.numberOfLeadingZeros(slots) + 1;
        keys = new long[slots];
        versions = new long[slots];
        contents = new long[slots];
        lists = new int[slots];
        size = 0;
    }

    /**
     * Take in an event.
     *
     * @param isNumbered whether its producer has given the version. Of two messages with the same one of those the
     *     second is a copy; where a time stands in, that is no reason to take it for one
     * @param list its genres, by their {@link #genreList} number
     */
    Verdict take(long key, long version, long content, boolean isNumbered, int list) {
        int slot = find(key);
        if (slot >= 0) {
            long last = versions[slot];
            if (version < last) {
                return Verdict.STALE;
            }
            if (content == contents[slot] || version == last && isNumbered) {
                if (version > last) {
                    versions[slot] = version;
                    noteChange(key);
                }
                return Verdict.DUPLICATE;
            }
        }
        put(slot, key, version, content, list);
        noteChange(key);
        return Verdict.NEW;
    }

    /** The number of a list of genres, see {@link GenreLists}. */
    int genreList(String genres) {
        return this.genres.number(genres);
    }

    /** The slot of a key, or the complement (~) of the free slot where it would go. */
    private int find(long key) {
        int slot = (int) (key * scatter >>> shift);
        while (keys[slot] != 0) {
            if (keys[slot] == key) {
                return slot;
            }
            slot = slot + 1 & keys.length - 1;
        }
        return ~slot;
    }

    private void put(int found, long key, long version, long content, int list) {
        int slot = found;
        if (slot >= 0) {
            genres.count(lists[slot], -1);
        } else {
            if (size >= keys.length / 4 * 3) {
                grow();
                slot = find(key);
            }
            slot = ~slot;
            keys[slot] = key;
            size++;
        }
        versions[slot] = version;
        contents[slot] = content;
        lists[slot] = list;
        genres.count(list, 1);
    }

    private void grow() {
        long[] oldKeys = keys;
        long[] oldVersions = versions;
        long[] oldContents = contents;
        int[] oldLists = lists;
        allocate(Math.multiplyExact(keys.length, 2));
        for (int old = 0; old < oldKeys.length; old++) {
            if (oldKeys[old] != 0) {
                int slot = ~find(oldKeys[old]);
                keys[slot] = oldKeys[old];
                versions[slot] = oldVersions[old];
                contents[slot] = oldContents[old];
                lists[slot] = oldLists[old];
                size++;
            }
        }
    }

    private void noteChange(long key) {
        if (changes == changed.length) {
            changed = Arrays.copyOf(changed, 2 * changes);
        }
        changed[changes++] = key;
    }

    /** How many changes {@link #writeChanges} would write. */
    int changes() {
        return changes;
    }

    /** Write what has changed since the last time. */
    void writeChanges(DataOutputStream out) throws IOException {
        write(Arrays.stream(changed, 0, changes).mapToInt(this::find).toArray(), out);
    }

    /** Write all of it, as changes that lead from nothing to here. */
    void writeAll(DataOutputStream out) throws IOException {
        write(IntStream.range(0, keys.length).filter(slot -> keys[slot] != 0).toArray(), out);
    }

    private void write(int[] slots, DataOutputStream out) throws IOException {
        int[] numbers = genres.write(Arrays.stream(slots).map(slot -> lists[slot]), out);
        out.writeInt(slots.length);
        ByteBuffer entry = ByteBuffer.allocate(SLOT_BYTES);
        for (int slot : slots) {
            entry.clear();
            entry.putLong(keys[slot]).putLong(versions[slot]).putLong(contents[slot]).putInt(numbers[lists[slot]]);
            out.write(entry.array());
        }
        forgetChanges();
    }

    private void forgetChanges() {
        changes = 0;
        changed = new long[FEWEST_SLOTS];
        genres.forgetUnused();
    }

    /** Apply what {@link #writeChanges} or {@link #writeAll} wrote. */
    void readFrom(DataInputStream in) throws IOException {
        int[] numbers = genres.read(in);
        for (int left = in.readInt(); left > 0; left--) {
            long key = in.readLong();
            put(find(key), key, in.readLong(), in.readLong(), numbers[in.readInt()]);
        }
    }

    /** Movies by genre; a genre that no movie has is left out. */
    Map<String, Long> counts() {
        return genres.counts();
    }

    int size() {
        return size;
    }

    /** What the arrays take, in bytes. */
    long bytes() {
        return (long) keys.length * SLOT_BYTES;
    }
}
