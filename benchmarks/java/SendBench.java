import com.alibaba.fastjson.JSON;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;

/**
 * What RocketMQ's own producer sends in one thread: SendBench NAME_SERVER TOPIC MODE WARM_UP COUNT, MODE being sync or batch.
 *
 * Waits for a line on standard input before each run and prints a JSON line after it: messages per second, making them included, and while
 * only the time inside send() counts.
 */
public final class SendBench {
    private static final int BATCH = 100;
    private static final byte[] BODY = new byte[200];

    public static void main(String[] args) throws Exception {
        String topic = args[1];
        boolean batches = "batch".equals(args[2]);
        int warmUp = Integer.parseInt(args[3]);
        int count = Integer.parseInt(args[4]);
        DefaultMQProducer producer = new DefaultMQProducer("send-bench");
        producer.setNamesrvAddr(args[0]);
        producer.start();
        send(producer, topic, batches, warmUp);
        System.out.println("ready");
        while (System.in.read() == '\n') {
            long begin = System.nanoTime();
            long inside = send(producer, topic, batches, count);
            long took = System.nanoTime() - begin;
            Map<String, Object> fields = new LinkedHashMap<>();
            fields.put("rate", count * 1e9 / took);
            fields.put("inside_rate", count * 1e9 / inside);
            System.out.println(JSON.toJSONString(fields));
        }
        Runtime.getRuntime().halt(0);
    }

    private static long send(DefaultMQProducer producer, String topic, boolean batches, int count) throws Exception {
        long inside = 0;
        for (int sent = 0; sent < count;) {
            List<Message> messages = new ArrayList<>(BATCH);
            do {
                messages.add(message(topic, sent++));
            } while (batches && messages.size() < BATCH);
            long begin = System.nanoTime();
            if (batches) {
                producer.send(messages);
            } else {
                producer.send(messages.get(0));
            }
            inside += System.nanoTime() - begin;
        }
        return inside;
    }

    private static Message message(String topic, int number) {
        Message message = new Message(topic, BODY);
        message.putUserProperty("mqttSecondTopic", "/d" + number % 100 + "/up");
        message.putUserProperty("topic", "devices/d" + number % 100 + "/up");
        message.putUserProperty("qoslevel", "1");
        message.putUserProperty("clientId", "GID_bench@@@d" + number % 100);
        message.putUserProperty("mqbridge-origin", "mqtt:mqtt-bench/devices");
        message.putUserProperty("mqtt5ContentType", "application/json");
        return message;
    }

    private SendBench() {
    }
}
