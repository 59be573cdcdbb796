// SPDX-License-Identifier: GPL-2.0-or-later
import java.io.RandomAccessFile;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Random;
import java.util.TreeMap;

/**
 * Orders COUNTER MEGABYTES [REPORTS]: what orders.py does, on the JVM. Half of the reports go into a
 * history of the newest ones, so that the collector has something to do. The number of reports made
 * is shown in the file COUNTER (8 bytes), which is mapped. It ends after REPORTS of them; a hash of
 * all of them is printed every hundredth.
 */
public final class Orders {
	private static final int ORDERS_EACH = 20;
	private static final int CUSTOMER_BYTES = 2200;
	private static final int STEP = 7919;
	private static final int HISTORY = 4096;

	private static final class Order {
		final long number;
		final int day;
		final int cents;
		final String article;

		Order(long number, Random rng) {
			this.number = number;
			day = rng.nextInt(3650);
			cents = 1 + rng.nextInt(100_000);
			article = "article " + rng.nextInt(100_000);
		}
	}

	private static String report(List<Order> orders, MessageDigest sha) {
		List<Order> sorted = new ArrayList<>(orders);
		sorted.sort(Comparator.<Order>comparingInt(o -> o.day).thenComparingLong(o -> o.number));
		TreeMap<Integer, Long> years = new TreeMap<>();
		StringBuilder text = new StringBuilder();
		for (Order o : sorted) {
			years.merge(o.day / 365, (long)o.cents, Long::sum);
			text.append(o.number).append(',').append(o.day).append(',').append(o.cents)
				.append(',').append(o.article).append('\n');
		}
		text.append(years);
		byte[] digest = text.toString().getBytes(StandardCharsets.UTF_8);
		for (int i = 0; i < 2000; i++)
			digest = sha.digest(digest);
		StringBuilder hex = new StringBuilder();
		for (byte b : digest)
			hex.append(String.format("%02x", b));
		return hex.append(' ').append(years).toString();
	}

	public static void main(String[] args) throws Exception {
		MappedByteBuffer counter;
		try (RandomAccessFile f = new RandomAccessFile(args[0], "rw")) {
			f.setLength(4096);
			counter = f.getChannel().map(FileChannel.MapMode.READ_WRITE, 0, 4096);
			counter.order(ByteOrder.LITTLE_ENDIAN);
		}
		Random rng = new Random(2008);
		int count = Integer.parseInt(args[1]) * 1_000_000 / CUSTOMER_BYTES;
		HashMap<Integer, List<Order>> customers = new HashMap<>();
		for (int c = 0; c < count; c++) {
			List<Order> orders = new ArrayList<>();
			for (int i = 0; i < ORDERS_EACH; i++)
				orders.add(new Order((long)c * ORDERS_EACH + i, rng));
			customers.put(c, orders);
		}
		MessageDigest sha = MessageDigest.getInstance("SHA-256");
		String[] history = new String[HISTORY];
		long last = args.length > 2 ? Long.parseLong(args[2]) : Long.MAX_VALUE;
		long hash = 0;
		for (long n = 0; n < last; n++) {
			String text = report(customers.get((int)(n * STEP % count)), sha);
			if (n % 2 == 0)
				history[(int)(n / 2 % HISTORY)] = text;
			counter.putLong(0, n + 1);
			hash = hash * 31 + text.hashCode();
			if (args.length > 2 && n % 100 == 99)
				System.out.println((n + 1) + " " + hash);
		}
	}
}
