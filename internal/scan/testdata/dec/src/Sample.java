package com.example;

public class Sample {
    public static final String CLIENT_SECRET = "static-\u00e9\0x\ud83d\ude00";
    public static final String SECOND = "second-value";
    static final long COUNT = 7;
    static String dynamic = "dynamic-value";
    static final double D = 0.5;
}
