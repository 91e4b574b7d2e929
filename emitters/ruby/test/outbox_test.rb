# frozen_string_literal: true

require "test_helper"

begin
  require "active_record"
  require "sqlite3"
  require "jobtide/outbox"
rescue LoadError
  warn "ActiveRecord or SQLite is not installed: the outbox is not tested"
end

if defined?(Jobtide::Outbox)
  require "postgres_server"

  # Events commit with their rows, and no fault in the outbox costs a transaction. On SQLite here, on PostgreSQL below.
  class OutboxTest < Minitest::Test
    include JobtideTest

    class Order < ActiveRecord::Base; end

    def connect
      @directory = Dir.mktmpdir
      ActiveRecord::Base.establish_connection(adapter: "sqlite3", database: File.join(@directory, "app.sqlite3"), timeout: 5000)
    end

    def setup
      super
      connect
      ActiveRecord::Schema.verbose = false
      @outbox = Jobtide::Outbox.new
      connection = ActiveRecord::Base.connection
      %w[outbox_orders jobtide_outbox].each { |table| connection.drop_table(table, if_exists: true) }
      connection.create_table(:outbox_orders)
      Order.table_name = "outbox_orders"
      Order.reset_column_information
      @outbox.create
      emitter(1)
    end

    def teardown
      super
      ActiveRecord::Base.connection_pool.disconnect!
      FileUtils.rm_rf(@directory) if @directory
    end

    def job(number)
      Jobtide.emitter.job("cron", "q", "Ship", number.to_s)
    end

    def relay(**more)
      Jobtide::Outbox::Relay.new(@outbox, **more)
    end

    def test_the_event_goes_with_the_row
      Order.transaction do
        Order.create!(id: 1)
        @outbox.job_enqueued(job(1))
        @outbox.job_enqueued(job(2), run_at_us: 1_795_341_600_000_000)
      end
      assert_raises(ZeroDivisionError) do
        Order.transaction do
          Order.create!(id: 3)
          @outbox.job_enqueued(job(3))
          raise ZeroDivisionError
        end
      end
      assert_empty flushed
      assert_equal [2, 0], Array.new(2) { relay.run_once }
      assert_equal [["job.enqueued.v1", "1"], ["job.scheduled.v1", "2"]], (@memory.events.map { |event| event.values_at("type", "subject") })
      assert_equal ["2026-11-22T10:00:00.000000Z", "acme/cron/2"], [@memory.events[1]["data"]["run_at"], @memory.events[1]["partitionkey"]]
      assert_equal [1, 0], [Order.count, @outbox.rows.count]
      no_errors
    end

    # Through the emitter it would be the same event.
    def test_what_is_emitted_is_what_would_have_been
      @outbox.job_enqueued(job("ä \"x\""))
      relay.run_once
      Jobtide.emitter.job_enqueued(job("ä \"x\""))
      assert_equal 1, flushed.map { |event| event.slice("type", "source", "subject", "partitionkey", "epoch", "lane", "data") }.uniq.size
    end

    def test_the_time_is_that_of_the_write
      @outbox.job_cancelled(job(1), "changed my mind")
      at = @outbox.rows.first.at_us
      relay.run_once
      assert_equal [Jobtide::Moments.text(at), "changed my mind"], [@memory.events[0]["time"], @memory.events[0]["data"]["reason"]]
    end

    def test_any_event
      @outbox.write("queue.paused.v1", "acme/cron/q/q", { system: "cron", queue: "q" })
      assert_equal 1, relay.run_once
      assert_equal ["queue.paused.v1", "acme"], [@memory.events[0]["type"], @memory.events[0]["data"]["tenant"]]
    end

    def test_what_is_not_acknowledged_stays
      @memory.down = true
      @outbox.job_enqueued(job(1))
      assert_equal 0, relay.run_once
      assert_equal 1, @outbox.rows.count
      @memory.down = false
      eventually("it to go") { relay.run_once == 1 }
      assert_equal ["1"], @memory.of("job.enqueued").map { |event| event["subject"] }.uniq
      assert_equal 0, @outbox.rows.count
    end

    def test_without_its_table_the_transaction_commits_all_the_same
      errors = Jobtide.errors
      missing = Jobtide::Outbox.new(name: "not_there")
      Order.transaction do
        Order.create!(id: 1)
        missing.job_enqueued(job(1))
        Order.create!(id: 2)
      end
      assert_equal [2, 1], [Order.count, Jobtide.errors - errors]
    end

    # The statement itself fails: PostgreSQL would refuse everything after it.
    def test_a_table_that_has_gone_costs_no_transaction
      @outbox.job_enqueued(job(0)) # now it knows the columns
      ActiveRecord::Base.connection.execute("DROP TABLE jobtide_outbox")
      errors = Jobtide.errors
      Order.transaction do
        Order.create!(id: 1)
        @outbox.job_enqueued(job(1))
        Order.create!(id: 2)
      end
      assert_equal [2, 1], [Order.count, Jobtide.errors - errors]
    end

    def test_a_mistake_inside_costs_no_transaction
      Jobtide.sites.fetch("outbox.write").fault = -> { raise NotImplementedError, "a mistake" }
      Order.transaction do
        @outbox.job_enqueued(job(1))
        Order.create!(id: 1)
      end
      assert_equal 1, Order.count
    end

    def test_the_apps_own_mistakes_stay_its_own
      Order.create!(id: 1)
      assert_raises(ActiveRecord::RecordNotUnique) do
        Order.transaction do
          @outbox.job_enqueued(job(1))
          Order.create!(id: 1)
        end
      end
      assert_equal 0, @outbox.rows.count
      no_errors
    end

    def test_off_it_writes_nothing
      Jobtide.configure(disabled: true)
      @outbox.job_enqueued(job(1))
      assert_equal [0, 0], [@outbox.rows.count, relay.run_once]
    end

    def test_a_thread_does_it_by_itself
      made = relay(pause_s: 0.02).start
      @outbox.job_enqueued(job(1))
      eventually("it to go") { @memory.of("job.enqueued").size == 1 && @outbox.rows.count.zero? }
      made.stop
    end

    # A relay that is killed between the receiver's answer and its own commit.
    def test_a_crash_in_between_emits_it_again
      @outbox.job_enqueued(job(1))
      assert_raises(Interrupt) do
        @outbox.rows.stub(:where, ->(*) { raise Interrupt }) { relay.run_once }
      end
      assert_equal 1, relay.run_once
      assert_equal [["1", 1]] * 2, (@memory.of("job.enqueued").map { |event| event["data"].values_at("job_id", "attempt") })
    end
  end

  begin
    require "pg"
  rescue LoadError
    warn "ruby-pg is not installed: the outbox is not tested on PostgreSQL"
  end

  if defined?(PG) && PostgresServer::CONTROL
    class OutboxOnPostgresTest < OutboxTest
      def connect
        ActiveRecord::Base.establish_connection(adapter: "postgresql", host: PostgresServer.start, username: "postgres", database: "postgres", pool: 8)
      end

      def test_relays_share_the_work
        1200.times { |number| @outbox.job_enqueued(job(number)) }
        Array.new(3) { Thread.new { @outbox.rows.connection_pool.with_connection { 4.times { relay.run_once } } } }.each(&:join)
        assert_equal (0...1200).to_a, flushed.map { |event| event["subject"].to_i }.sort
        assert_equal 0, @outbox.rows.count
        no_errors
      end
    end
  end
end
