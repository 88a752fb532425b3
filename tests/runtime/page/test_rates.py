from dtgd_edge.runtime.page.rates import Rate


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_burst_is_allowed_and_then_so_many_a_second() -> None:
    clock = Clock()
    rate = Rate(2.0, 3, clock)
    assert [rate.take("a") for _ in range(4)] == [True, True, True, False]
    clock.now_s = 0.5
    assert [rate.take("a") for _ in range(2)] == [True, False]
    clock.now_s = 100.0
    assert [rate.take("a") for _ in range(4)] == [True, True, True, False]


def test_clients_do_not_use_up_each_others_share() -> None:
    rate = Rate(1.0, 1, Clock())
    assert rate.take("10.0.0.1") and rate.take("10.0.0.2") and not rate.take("10.0.0.1")


def test_a_network_of_ipv6_is_one_client() -> None:
    rate = Rate(1.0, 1, Clock())
    assert rate.take("2001:db8::1") and not rate.take("2001:db8::2:3") and rate.take("2001:db8:0:1::1")


def test_asking_whether_it_is_spent_uses_nothing_up() -> None:
    rate = Rate(1.0, 1, Clock())
    assert not rate.is_spent("a") and not rate.is_spent("a") and rate.take("a") and rate.is_spent("a")


def test_a_flood_of_addresses_fills_no_memory() -> None:
    rate = Rate(1.0, 1, Clock())
    for number in range(5000):
        rate.take(f"10.0.{number // 250}.{number % 250}")
    assert len(rate._left) <= 1024
