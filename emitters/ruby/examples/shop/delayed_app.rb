# frozen_string_literal: true

# The same shop on DelayedJob, with SQLite: ruby delayed_app.rb DATABASE drive 100 | work
require_relative "oracle"
require "active_record"
require "delayed_job_active_record"
require "jobtide/delayed_job"

ActiveRecord::Base.establish_connection(adapter: "sqlite3", database: ARGV.fetch(0), timeout: 10_000)
unless ActiveRecord::Base.connection.table_exists?(:delayed_jobs)
  ActiveRecord::Schema.verbose = false
  ActiveRecord::Schema.define do
    create_table(:delayed_jobs) do |table|
      %i[priority attempts].each { |name| table.integer name, default: 0, null: false }
      %i[handler last_error].each { |name| table.text name }
      %i[queue locked_by].each { |name| table.string name }
      %i[run_at locked_at failed_at created_at updated_at].each { |name| table.datetime name, precision: 6 }
    end
  end
end

module Shop
  # Fails `failures` times first; DelayedJob gives up after three attempts.
  Parcel = Struct.new(:key, :failures) do
    def before(job)
      @attempt = job.attempts + 1
    end

    def perform
      Oracle.run("Shop::Parcel", key, @attempt) { raise IOError, "no #{key}" if @attempt <= failures }
    end

    def max_attempts
      3
    end

    def reschedule_at(now, _attempts)
      now
    end
  end
end

module Shop
  def self.work
    Delayed::Worker.sleep_delay = 0.2
    Delayed::Worker.logger = Logger.new(IO::NULL)
    Delayed::Worker.new(name_prefix: "shop ").start
  end
end

case $PROGRAM_NAME.end_with?("delayed_app.rb") && ARGV.fetch(1)
when "work" then Shop.work
when "drive"
  Integer(ARGV.fetch(2)).times do |number|
    key = "p-#{number}"
    before = Process.clock_gettime(Process::CLOCK_REALTIME)
    Delayed::Job.enqueue(Shop::Parcel.new(key, [0, 0, 0, 1, 9][number % 5]))
    Shop::Oracle.write("enqueued", key, class: "Shop::Parcel", delay_s: nil, before: before)
  end
end
