"""Remembering for a moment what is read again and again."""

import threading

from offloading.jobs.remembered import Remembered


def counter():
    numbers = iter(range(1000))
    return lambda: next(numbers)


def test_it_is_read_once_in_its_time():
    remembered = Remembered(counter(), lambda: 60.0)
    assert [remembered.get(), remembered.get()] == [0, 0]


def test_it_is_read_each_time_without_time():
    remembered = Remembered(counter(), lambda: 0.0)
    assert [remembered.get(), remembered.get()] == [0, 1]


def test_forgotten_is_read_anew():
    remembered = Remembered(counter(), lambda: 60.0)
    remembered.get()
    remembered.forget()
    assert [remembered.get(), remembered.get()] == [1, 1]


def test_what_was_read_before_a_change_is_not_kept_after_it():
    reading, changed = threading.Event(), threading.Event()
    numbers = counter()

    def read():
        number = numbers()
        if number == 0:
            reading.set()
            changed.wait(10)
        return number

    remembered = Remembered(read, lambda: 60.0)
    found = []
    slow = threading.Thread(target=lambda: found.append(remembered.get()))
    slow.start()
    assert reading.wait(10)
    remembered.forget()
    changed.set()
    slow.join()
    assert found == [0]
    assert remembered.get() == 1
