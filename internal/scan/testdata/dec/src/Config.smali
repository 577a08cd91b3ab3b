.class public Lcom/example/Config;
.super Ljava/lang/Object;
.field public static final CLIENT_SECRET:Ljava/lang/String; = "static-\u00e9\u0000x\ud83d\ude00"
.field public static final COUNT:I = 0x7
.field public static final SECOND:Ljava/lang/String; = "second-value"
.field public static DYNAMIC:Ljava/lang/String;
.field public static KEY:[B
.field public static CHARS:[C
.field private token:Ljava/lang/String;
.method static constructor <clinit>()V
    .registers 3
    const-string v0, "dynamic-value"
    sput-object v0, Lcom/example/Config;->DYNAMIC:Ljava/lang/String;
    const/16 v0, 0x8
    new-array v0, v0, [B
    fill-array-data v0, :bytes
    sput-object v0, Lcom/example/Config;->KEY:[B
    const/16 v0, 0x7
    new-array v1, v0, [C
    fill-array-data v1, :chars
    sput-object v1, Lcom/example/Config;->CHARS:[C
    new-array v1, v0, [I
    fill-array-data v1, :ints
    packed-switch v0, :sw
    :a
    return-void
    :bytes
    .array-data 1
        0x10t 0x20t 0x80t 0xfft 0x41t 0x42t 0x43t 0x44t
    .end array-data
    :chars
    .array-data 2
        0x73s 0x65s 0x63s 0x72s 0xe9s 0x74s 0x20acs
    .end array-data
    :ints
    .array-data 4
        0x69 0x6e 0x74 0x73 0x31 0x32 0x33
    .end array-data
    :sw
    .packed-switch 0x1
        :a
    .end packed-switch
.end method
.method public constructor <init>()V
    .registers 2
    invoke-direct {p0}, Ljava/lang/Object;-><init>()V
    const-string/jumbo v0, "instance-value"
    iput-object v0, p0, Lcom/example/Config;->token:Ljava/lang/String;
    return-void
.end method
