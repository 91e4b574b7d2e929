# frozen_string_literal: true

require "test_helper"
require "jobtide/transports/kafka"

# What does not need a broker; real Kafka is in tests/e2e.
class KafkaTest < Minitest::Test
  include JobtideTest
  Kafka = Jobtide::Transports::Kafka

  # A client that acknowledges what it is told to.
  class Client
    attr_reader :messages, :configuration
    attr_accessor :unsent, :partitions, :broken

    def initialize(configuration)
      @configuration = configuration
      @unsent = []
      @partitions = 8
    end

    def partition_count(*)
      @partitions
    end

    def produce(_topic, messages, _timeout_ms)
      @messages = messages
      @unsent == :all ? messages.each_index.to_a : @unsent
    end

    def broken?
      @broken
    end

    def close
      @closed = true
    end
  end

  def setup
    super
    made = @made = []
    @transport = Kafka.new(Jobtide::Settings.new(broker: "b:1", sasl_password: "p"), Class.new(Client) { define_method(:initialize) { |*all| super(*all).tap { made << self } } })
  end

  def texts(count)
    Array.new(count) { |number| Jobtide::Packs::Text.new(number % 64, %({"n":#{number}})) }
  end

  def test_packs_go_to_the_partition_of_their_lane
    @transport.connect
    assert_empty @transport.deliver(texts(64))
    assert_equal (0..7).to_a, @made[0].messages.map(&:first).sort
    partition, value, headers = @made[0].messages[3]
    assert_equal [3], JSON.parse(value).map { |event| event["n"] % 8 }.uniq
    assert_equal ["application/cloudevents-batch+json", 3], [headers["content-type"], partition]
    assert_match(/\A\d{13}\z/, headers["sent_at"])
  end

  def test_only_what_has_no_receipt_goes_again
    @transport.connect
    @made[0].unsent = [2]
    assert_equal [2], (@transport.deliver(texts(64)).map { |text| text.lane % 8 }.uniq)
  end

  def test_no_receipt_at_all_is_an_outage_and_a_fatal_producer_is_replaced
    @transport.connect
    @made[0].unsent = :all
    @made[0].broken = true
    assert_raises(Jobtide::TransportDown) { @transport.deliver(texts(5)) }
    @transport.deliver(texts(5))
    assert_equal 2, @made.size
  end

  def test_partitions_that_lanes_cannot_live_on
    @made.clear
    @transport.send(:client).partitions = 12
    assert_match(/divides 64/, assert_raises(Jobtide::ConfigError) { @transport.connect }.message)
  end

  def test_configuration
    configuration = Kafka.configuration(Jobtide::Settings.new(broker: "b:1", security_protocol: "SASL_SSL", sasl_mechanism: "PLAIN"))
    assert_equal %w[true all sasl_ssl PLAIN], configuration.values_at("enable.idempotence", "acks", "security.protocol", "sasl.mechanisms")
    refute configuration.key?("sasl.password")
  end

  def test_the_rdkafka_gem
    begin
      require "rdkafka"
    rescue LoadError
      $LOAD_PATH << File.expand_path("stand_ins", __dir__)
    end
    require "jobtide/transports/kafka_rdkafka"
    client = Jobtide::Transports::KafkaRdkafka.new("bootstrap.servers" => "b:1")
    messages = [[3, "[]", { "sent_at" => "1" }], [4, "[]", {}]]
    assert_equal 8, client.partition_count("t", 1000)
    assert_empty client.produce("t", messages, 1000)
    %i[produce wait].each do |failing|
      Rdkafka::Producer.failing = failing
      assert_equal [0, 1], client.produce("t", messages, 100)
    end
    assert_raises(Jobtide::ConfigError) { Jobtide::Transports::KafkaRdkafka.new({}) }
  ensure
    Rdkafka::Producer.failing = nil
  end

  def test_without_a_client_the_events_wait_and_the_log_says_why
    made = Jobtide.configure(broker: "127.0.0.1:1", client: "rdkafka", tenant: "acme", linger_ms: 0)
    Kafka.stub(:for, ->(_) { raise Jobtide::ConfigError, "needs a Kafka client" }) do
      made.job_enqueued(made.job("cron", "q", "C", "1"))
      refute Jobtide.flush(300)
    end
    assert_match(/needs a Kafka client/, @logged.string)
  end
end
