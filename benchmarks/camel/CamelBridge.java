import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.main.BaseMainSupport;
import org.apache.camel.main.Main;
import org.apache.camel.main.MainListenerSupport;

/**
 * The bridge as Camel's documentation of the two components shows it, every setting at its default but the QoS:
 *
 * CamelBridge outbound MQTT_URL NAME_SERVER TOPIC, or CamelBridge inbound NAME_SERVER TOPIC MQTT_URL.
 */
public final class CamelBridge {
    public static void main(String[] args) throws Exception {
        Main main = new Main();
        main.configure().addRoutesBuilder("outbound".equals(args[0]) ? outbound(args) : inbound(args));
        main.addMainListener(new MainListenerSupport() {
            @Override
            public void afterStart(BaseMainSupport started) {
                System.out.println("ready");
            }
        });
        main.run();
    }

    private static RouteBuilder outbound(String[] args) {
        return new RouteBuilder() {
            @Override
            public void configure() {
                from("paho-mqtt5:devices/#?qos=1&clientId=camel-outbound&brokerUrl=" + args[1])
                    .to("rocketmq:" + args[3] + "?producerGroup=camel&namesrvAddr=" + args[2]);
            }
        };
    }

    private static RouteBuilder inbound(String[] args) {
        return new RouteBuilder() {
            @Override
            public void configure() {
                from("rocketmq:" + args[2] + "?consumerGroup=camel&namesrvAddr=" + args[1])
                    .to("paho-mqtt5:devices/command?qos=1&clientId=camel-inbound&brokerUrl=" + args[3]);
            }
        };
    }

    private CamelBridge() {
    }
}
