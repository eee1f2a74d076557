#!/usr/bin/env bash
# ZooKeeper 3.8.4 as a server and 3.9.4 as a client (Kafka 3.9.2 and Spark 4.1.1 bring them): with the defaults of both
# there is no TLS between them. The server of 3.8.4 takes TLSv1.2 alone, the client of 3.9.4 offers TLSv1.3 alone. And
# ssl.protocol=TLSv1.3 does not help: ssl.ciphersuites has by default those of TLSv1.2 alone, so that then not even a client
# of 3.8.4 with the same line connects. The server has to name protocols and suites.
# Seen:
#   server as it comes, client 3.8.4:              connected
#   server as it comes, client 3.9.4:              not connected
#   server ssl.protocol=TLSv1.3, client 3.8.4:     not connected
#   server ssl.protocol=TLSv1.3, client 3.9.4:     not connected
#   server protocols and suites, client 3.8.4:     connected
#   server protocols and suites, client 3.9.4:     connected
# Needs a JDK, mvn and openssl. Ends with 1 if that has changed.
set -euo pipefail
work=$(mktemp -d)
server=
end() {
    if [ -n "$server" ]; then
        kill -9 "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
}
trap 'end; rm -rf "$work"' EXIT
cd "$work"

for version in 3.8.4 3.9.4; do
    mkdir "$version"
    cat >"$version/pom.xml" <<POM
<project><modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies>
<dependency><groupId>org.apache.zookeeper</groupId><artifactId>zookeeper</artifactId><version>$version</version>
</dependency>
<dependency><groupId>io.dropwizard.metrics</groupId><artifactId>metrics-core</artifactId><version>4.1.12.1</version>
</dependency>
<dependency><groupId>org.xerial.snappy</groupId><artifactId>snappy-java</artifactId><version>1.1.10.5</version>
</dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>2.0.13</version></dependency>
</dependencies></project>
POM
    mvn -q -B -f "$version/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/$version/libs"
done
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out certificate.pem -days 2 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>/dev/null
cat key.pem certificate.pem >host.pem

cat >Port.java <<'JAVA'
class Port {
    public static void main(String[] none) throws Exception {
        try (var socket = new java.net.ServerSocket(0, 1, java.net.InetAddress.getLoopbackAddress())) {
            System.out.println(socket.getLocalPort());
        }
    }
}
JAVA
cat >Try.java <<'JAVA'
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooKeeper;

class Try {
    public static void main(String[] servers) throws Exception {
        var connected = new CountDownLatch(1);
        new ZooKeeper(servers[0], 20_000, event -> {
            if (event.getState() == KeeperState.SyncConnected) connected.countDown();
        });
        System.out.println(connected.await(15, TimeUnit.SECONDS) ? "connected" : "not connected");
        System.exit(0);
    }
}
JAVA
serve() { # lines of zoo.cfg beside the ordinary ones
    end
    port=$(java Port.java)
    printf '%s\n' "dataDir=$work/data" "secureClientPort=$port" secureClientPortAddress=127.0.0.1 admin.enableServer=false \
        serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory "ssl.keyStore.location=$work/host.pem" \
        "ssl.trustStore.location=$work/certificate.pem" "$@" >zoo.cfg
    java -Xmx256m -cp '3.8.4/libs/*' org.apache.zookeeper.server.quorum.QuorumPeerMain zoo.cfg >server.log 2>&1 &
    server=$!
    for ((tries = 0; tries < 600; tries++)); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
        sleep 0.1
    done
}
try() { # what the server is told
    local version
    for version in 3.8.4 3.9.4; do
        timeout 120 java -Dzookeeper.client.secure=true \
            -Dzookeeper.clientCnxnSocket=org.apache.zookeeper.ClientCnxnSocketNetty \
            -Dzookeeper.ssl.keyStore.location=host.pem -Dzookeeper.ssl.trustStore.location=certificate.pem \
            ${2:+$([ "$version" = 3.8.4 ] && echo "$2")} \
            -cp "$version/libs/*" Try.java "localhost:$port" >client.log 2>&1 || true
        printf '%-46s %s\n' "server $1, client $version:" "$(tail -n 1 client.log)" | tee -a seen
    done
}
serve
try 'as it comes'
serve ssl.protocol=TLSv1.3
try ssl.protocol=TLSv1.3 -Dzookeeper.ssl.protocol=TLSv1.3
serve ssl.protocol=TLSv1.3 ssl.enabledProtocols=TLSv1.3,TLSv1.2 \
    ssl.ciphersuites=TLS_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
try 'protocols and suites'
diff - seen >/dev/null <<'SEEN' || {
server as it comes, client 3.8.4:              connected
server as it comes, client 3.9.4:              not connected
server ssl.protocol=TLSv1.3, client 3.8.4:     not connected
server ssl.protocol=TLSv1.3, client 3.9.4:     not connected
server protocols and suites, client 3.8.4:     connected
server protocols and suites, client 3.9.4:     connected
SEEN
    echo "It has changed, or did not run; the last lines of the server and the last client:" >&2
    tail -n 5 server.log client.log >&2
    exit 1
}
