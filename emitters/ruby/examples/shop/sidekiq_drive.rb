# frozen_string_literal: true

# Pushes jobs of every kind to the shop: ruby sidekiq_drive.rb JOBS [SEED]
require_relative "sidekiq_app"

count = Integer(ARGV.fetch(0, "100"))
random = Random.new(Integer(ARGV.fetch(1, "7")))

def push(key, klass, failures, delay_s = nil)
  before = Process.clock_gettime(Process::CLOCK_REALTIME)
  delay_s ? klass.perform_in(delay_s, key, failures) : klass.perform_async(key, failures)
  Shop::Oracle.write("enqueued", key, class: klass.name, delay_s: delay_s, before: before)
end

count.times do |number|
  case random.rand
  when 0...0.6 then push("i-#{number}", Shop::Invoice, 0)
  when 0.6...0.7 then push("r-#{number}", Shop::Invoice, 1)
  when 0.7...0.75 then push("d-#{number}", Shop::Invoice, 9)
  when 0.75...0.85 then push("s-#{number}", Shop::Invoice, 0, 1.5)
  else push("m-#{number}", Shop::Mail, random.rand < 0.2 ? 1 : 0)
  end
end
before = Process.clock_gettime(Process::CLOCK_REALTIME)
bulk = Array.new(10) { |number| ["b-#{number}", 0] }
Sidekiq::Client.push_bulk("class" => Shop::Invoice, "args" => bulk)
bulk.each { |key, _| Shop::Oracle.write("enqueued", key, class: "Shop::Invoice", delay_s: nil, before: before) }
Jobtide.close
