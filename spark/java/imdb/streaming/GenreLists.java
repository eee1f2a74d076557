package imdb.streaming;

import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.apache.spark.sql.catalyst.util.ArrayData;

/** The lists of genres that movies have, each with a number, and how many movies have it. */
final class GenreLists {
    private static final String UNKNOWN_GENRE = "(unknown)";

    private final Map<String, Integer> numbers = new HashMap<>();
    /** By number; null where the number is free. */
    private final List<String> texts = new ArrayList<>();

    private final List<Long> movies = new ArrayList<>();
    private final Deque<Integer> free = new ArrayDeque<>();

    /** A list as one text: each genre behind its length, as any character may be in one. */
    static String joined(ArrayData genres) {
        StringBuilder text = new StringBuilder();
        for (int item = 0; item < genres.numElements(); item++) {
            String genre = genres.getUTF8String(item).toString();
            text.append(genre.length()).append(':').append(genre);
        }
        return text.toString();
    }

    /** The number of a list; it holds until {@link #forgetUnused}, and then if a movie has the list. */
    int number(String text) {
        Integer known = numbers.get(text);
        if (known != null) {
            return known;
        }
        int number = free.isEmpty() ? texts.size() : free.pop();
        if (number == texts.size()) {
            texts.add(text);
            movies.add(0L);
        } else {
            texts.set(number, text);
        }
        numbers.put(text, number);
        return number;
    }

    /** Count movies that have a list, or have it no more. */
    void count(int number, long change) {
        movies.set(number, movies.get(number) + change);
    }

    void forgetUnused() {
        for (int number = 0; number < texts.size(); number++) {
            if (texts.get(number) != null && movies.get(number) == 0) {
                numbers.remove(texts.set(number, null));
                free.push(number);
            }
        }
    }

    /** A movie counts once for each of its genres, one without any for `(unknown)`. */
    Map<String, Long> counts() {
        Map<String, Long> counts = new TreeMap<>();
        for (int number = 0; number < texts.size(); number++) {
            if (movies.get(number) > 0) {
                for (String genre : distinct(texts.get(number))) {
                    counts.merge(genre, movies.get(number), Long::sum);
                }
            }
        }
        return counts;
    }

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

    /** Write the lists of these numbers, each once; their places in what was written, by number. */
    int[] write(IntStream used, DataOutputStream out) throws IOException {
        int[] distinct = used.distinct().toArray();
        int[] places = new int[texts.size()];
        out.writeInt(distinct.length);
        for (int place = 0; place < distinct.length; place++) {
            places[distinct[place]] = place;
            byte[] text = texts.get(distinct[place]).getBytes(StandardCharsets.UTF_8);
            out.writeInt(text.length);
            out.write(text);
        }
        return places;
    }

    /** Read what {@link #write} wrote; the lists' numbers, by place. */
    int[] read(DataInputStream in) throws IOException {
        int[] found = new int[in.readInt()];
        for (int place = 0; place < found.length; place++) {
            found[place] = number(new String(in.readNBytes(in.readInt()), StandardCharsets.UTF_8));
        }
        return found;
    }
}
